package Sluice::Lane;

# Reads the files of a directory of Sluice, to see in a test what a reader
# would see: written from the description of the format (shm/file.h, lane.h,
# record.h, pool.h, workers.h), not with the library that writes it.

use strict;
use warnings;

use Time::HiRes qw( clock_gettime CLOCK_MONOTONIC );

my $HEADER = 4096;
my $MAGIC  = "SLUICE\x1a\n";

my @ITEMS = (undef, qw( request_id client method host uri pool key zone try
                        field proxy tunnel ));
my @OUTCOMES = qw( open admitted limit no_key error unadmitted no_proxy );
# the results of tunnels, shm/tunnel.h
my @RESULTS = qw( connected reused direct unreachable timeout closed invalid
                  denied forbidden origin );
my @STATES = qw( healthy cooling probing exhausted disabled );
my @REASONS = qw( none status body errors operator );
my @ANSWERS = qw( well client left cool denied quota error timeout connect );
my %FLAGS = (aborted => 1, cut => 2, closed => 4, late => 8);

my $UNKNOWN = ~0;

my @Crc = map {
    my $crc = $_;
    $crc = $crc >> 1 ^ ($crc & 1 && 0x82f63b78) for 1 .. 8;
    $crc;
} 0 .. 255;

sub crc32c {
    my ($data) = @_;
    my $crc = 0xffffffff;

    $crc = $crc >> 8 ^ $Crc[($crc ^ $_) & 255] for unpack 'C*', $data;
    return $crc ^ 0xffffffff;
}

# The bytes of a file's section, after its header was checked.

sub sections {
    my ($path, $kind) = @_;

    open my $in, '<:raw', $path or die "cannot open $path: $!\n";
    my $file = do { local $/; <$in> };

    my ($magic, $major, $minor, $is, $size) = unpack 'a8 S S L Q', $file;
    my ($crc) = unpack 'x504 L', $file;

    die "$path: not a file of Sluice\n" if $magic ne $MAGIC;
    die "$path: version $major.$minor\n" if "$major.$minor" ne '1.0';
    die "$path: kind $is\n" if $is != $kind;
    die "$path: size $size\n" if $size != length $file;
    die "$path: damaged header\n" if $crc != crc32c(substr $file, 0, 504);

    my @section = unpack '(QQ)4', substr $file, 192, 64;
    my @data;

    while (my ($offset, $length) = splice @section, 0, 2) {
        push @data, substr $file, $offset, $length;
    }

    return { uuid => substr($file, 32, 16), section => \@data };
}

# The records of a lane that were not drained, each a hash of its fields.
# Items that may stand more than once are arrays: tries, tunnels, fields.

sub records {
    my ($path) = @_;
    my $file = sections($path, 4);
    my ($control, undef, $ring) = @{ $file->{section} };
    my ($head) = unpack 'Q', $control;
    my ($tail, $node) = unpack 'x64 Q x72 Z64', $control;
    my @records;

    while ($tail < $head) {
        my $offset = $tail % length $ring;
        my ($length) = unpack 'L', substr $ring, $offset, 4;
        my $size = $length + 7 & ~7;

        die "$path: a record of $length bytes\n"
            if $length < 104 || $size > $head - $tail;

        my $data = substr "$ring$ring", $offset, $size;
        my $record = record($data, $file->{uuid}, $tail);

        push @records, { %$record, node => $node,
                         lane => uuid($file->{uuid}) };
        $tail += $size;
    }

    return @records;
}

sub record {
    my ($data, $uuid, $position) = @_;
    my %r;
    my ($length, $crc, $type, $version, $flags, $outcome, @fixed)
        = unpack 'L L C C S C C S Q6', $data;

    @r{qw( tries status sequence time request_time first_byte bytes_in
           bytes_out )} = @fixed;

    die "record: type $type, version $version\n" if "$type $version" ne '1 1';
    die "record: its CRC is wrong\n"
        if $crc != crc32c($uuid . pack('Q', $position) . pack('L', $length)
                          . substr $data, 8);

    $r{flags} = join '+', grep { $flags & $FLAGS{$_} } sort keys %FLAGS;
    $r{outcome} = $OUTCOMES[$outcome] // "outcome $outcome";

    for (qw( request_time first_byte )) {
        delete $r{$_} if $r{$_} == $UNKNOWN;
    }

    for (my $at = 104; $at < $length;) {
        my ($tag, $cut, $n) = unpack 'C C S', substr $data, $at, 4;
        my $value = substr $data, $at + 4, $n;
        my $name = $ITEMS[$tag] // die "record: item $tag\n";

        $at += 4 + $n;
        die "record: an item past its end\n" if $at > $length;

        if ($name eq 'try') {
            my ($connect, $header, $response, $status, $key, $in, $out, $addr)
                = unpack 'L L L S S Q Q a*', $value;

            push @{ $r{keys} }, "$status\@" . (substr($addr, 0, $key) || '-');
            push @{ $r{upstream} }, "$status\@" . substr $addr, $key;
            push @{ $r{connect} }, $connect == 0xffffffff ? '-' : 'ms';
            push @{ $r{received} }, $in;
            next;
        }

        if ($name eq 'tunnel') {
            my (undef, $try, $result, $id) = unpack 'L C C x2 a*', $value;

            push @{ $r{tunnels} }, "$try:" . $RESULTS[$result] . "\@"
                                   . ($id eq '' ? '-' : $id);
            next;
        }

        if ($name eq 'field') {
            my $len = ord $value;
            $name = 'field.' . substr $value, 1, $len;
            $value = substr $value, 1 + $len;
        }

        # of those that stand once, a later one counts
        $r{$name} = $value;
        $r{cut} = join '+', grep { defined } $r{cut}, $name if $cut & 1;
    }

    $r{$_} &&= join '+', @{ $r{$_} }
        for qw( upstream connect received keys tunnels );

    return \%r;
}

sub uuid {
    return join '-', unpack 'H8 H4 H4 H4 H12', $_[0];
}

# All records of the directory, in the order of their admission.

sub all_records {
    my ($dir) = @_;

    return sort { $a->{time} <=> $b->{time}
                  || $a->{sequence} <=> $b->{sequence} }
           map { records($_) } glob "$dir/lane.*";
}

# How many requests are open in the lanes of the directory.

sub open_entries {
    my ($dir) = @_;
    my $n = 0;

    for (glob "$dir/lane.*") {
        $n += unpack 'x32 Q', sections($_, 4)->{section}[0];
    }

    return $n;
}

# A line for each member of the directory's pools, of keys and of proxies.

sub members {
    my ($dir) = @_;
    my @lines;

    for my $path (sort glob "$dir/pool.* $dir/proxies.*") {
        my ($prefix, $pool) = $path =~ m{/(\w+)\.([^/]+)\.\d+$};
        my $kind = $prefix eq 'pool' ? 3 : 6;
        my (undef, $members, $columns)
            = @{ sections($path, $kind)->{section} };
        my @in_flight;

        for (unpack '(a2048)*', $columns) {
            my $line = 0;
            $in_flight[$line++] += $_ for unpack 'S*', $_;
        }

        for my $line (0 .. 1023) {
            my ($state, $until, $fingerprint, $used, @rest)
                = unpack 'Q Q x32 Q x72 Q Q9 x48 Z48',
                         substr $members, $line * 320, 320;

            next if !$fingerprint;

            my $id = pop @rest;
            my %answers;
            @answers{@ANSWERS} = @rest;

            push @lines, { pool => $pool, id => $id, used => $used,
                           in_flight => $in_flight[$line],
                           state => $STATES[$state & 7],
                           until => ($until >> 20) / 1000,
                           for => ($until >> 20) - ($state >> 20),
                           reason => $REASONS[$until >> 2 & 7],
                           status => $until >> 10 & 1023,
                           %answers };
        }
    }

    return @lines;
}

# Sets the states of a pool's members, in the order of their lines: "healthy",
# "disabled", or for how many seconds it is to cool.

sub set_states {
    my ($dir, $pool, @states) = @_;
    my ($path) = grep { -e } glob "$dir/{pool,proxies}.$pool.*";
    my $now = int 1000 * clock_gettime(CLOCK_MONOTONIC);
    my $never = (1 << 44) - 1;

    open my $file, '+<:raw', $path or die "$path: $!";
    read $file, my $header, 512;
    my ($members) = unpack 'x208 Q', $header;

    for my $line (0 .. $#states) {
        my $state = $states[$line];

        my @word = $state eq 'healthy'  ? (0, 0)
                 : $state eq 'disabled' ? ($now << 20 | 4, $never << 20 | 4 << 2)
                 : ($now << 20 | 1,
                    ($now + int 1000 * $state) << 20 | 429 << 10 | 1 << 2);

        seek $file, $members + 320 * $line, 0;
        print $file pack 'Q Q', @word;
    }

    close $file or die $!;
}

# The sums of the counters, by the names that shm/stat.h gives them.

sub counters {
    my ($dir) = @_;

    open my $in, '<', 'shm/stat.h' or die "cannot open shm/stat.h: $!\n";
    my @names = do { local $/; <$in> } =~ /X\(\w+,\s*"(\w+)"/g;
    my %sum;

    for (unpack '(a576)*', sections("$dir/workers", 1)->{section}[0]) {
        my @stat = unpack 'x64 Q*', $_;
        $sum{ $names[$_] } += $stat[$_] for 0 .. $#names;
    }

    return \%sum;
}

# What a zone's processes have counted.

sub zone_counters {
    my ($dir, $zone) = @_;
    my %sum;

    for my $path (glob "$dir/zone.$zone.*") {
        for (unpack '(a64)*', sections($path, 2)->{section}[1]) {
            my ($passed, $refused) = unpack 'Q Q', $_;
            $sum{passed} += $passed;
            $sum{refused} += $refused;
        }
    }

    return \%sum;
}

1;
