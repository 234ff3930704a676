package Sluice::Test;

# Sections for what a request leaves behind in the directory of Sluice.  To
# be required after Test::Nginx::Socket, whichever it is; each section makes
# one test, after the last request of its block.
#
#   x_records   a line for each record, in the order of admission
#   x_members   a line for each key of the pools: "POOL ID NAME=VALUE ...";
#               for=MS is how long its state lasts from when it was set
#   x_counters  the workers' counters
#   x_zone      "ZONE passed=N refused=N", a line a zone
#   x_files     the files' names
#   x_log       "N: text": so many lines of error.log have it; "N-M: text",
#               "N: ~pattern"; a line for each text
#   x_curl      arguments to curl, a line a call, before the other sections;
#               what is said of its output is in x_curl_out; a line that begins
#               with "+MS" is called so many milliseconds after the first, while
#               others are under way, and its output comes in its turn;
#               $SERVER is the server's port, $PORT and $HTTP2 are of the first
#               "listen 127.0.0.1:..." and of that with http2
#
# A line has NAME=VALUE or NAME=~PATTERN, only what is named is compared, and
# "-" is no value.  A value has no spaces.  The directory is sluice_temp in
# the server's root, unless lasting_dir() has made one.

use strict;
use warnings;

require './t/lib/Sluice/Lane.pm';

use File::Temp ();
use Test::More ();
use Time::HiRes qw( sleep time );

my $Lasting;

sub dir {
    return defined $Lasting ? "$Lasting/sluice"
                            : "$Test::Nginx::Util::ServRoot/sluice_temp";
}

# Test::Nginx empties the server's root between blocks.  What must outlive a
# block is in a folder of its own, $TEST_NGINX_SLUICE_DIR.

sub lasting_dir {
    $Lasting = File::Temp::tempdir('sluice-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    $ENV{TEST_NGINX_SLUICE_DIR} = dir();
}

# Renders what was got in the words of what is expected.

sub render {
    my ($expected, @got) = @_;
    my @lines = grep { /\S/ } split /\n/, $expected;
    my @out;

    for my $i (0 .. ($#got > $#lines ? $#got : $#lines)) {
        my $got = $got[$i];
        my @words = split ' ', $lines[$i] // '';

        if (!$got) {
            push @out, 'none';
            next;
        }

        if (!@words) {
            @words = map { "$_=" } sort grep { !/^(?:time|lane)$/ } keys %$got;
        }

        push @out, join ' ', map {
            my ($name, $like, $value) = /^([^=~]+)=(~?)(.*)$/;

            if (!defined $name) {
                $_;

            } else {
                my $is = $got->{$name} // '';
                $is = '-' if $is eq '';
                $like && $is =~ /$value/ ? $_ : "$name=$is";
            }
        } @words;
    }

    return join '', map { "$_\n" } @out;
}

sub compare {
    my ($block, $section, @got) = @_;
    my $expected = join '', map { join(' ', split ' ') . "\n" }
                            grep { /\S/ } split /\n/, $block->$section;

    Test::More::is(render($expected, @got), $expected,
                   $block->name . " - $section");
}

# A record is pushed after the response was sent: wait for it, not for long.

sub check_records {
    my ($block) = @_;
    my $n = grep { /\S/ } split /\n/, $block->x_records;
    my $end = time + 2;
    my @records;

    while (1) {
        @records = Sluice::Lane::all_records(dir());
        last if @records >= $n && !Sluice::Lane::open_entries(dir())
                || time > $end;
        sleep 0.02;
    }

    compare($block, 'x_records', @records);
}

sub check_members {
    my ($block) = @_;
    my @members = Sluice::Lane::members(dir());
    my @lines = grep { /\S/ } split /\n/, $block->x_members;

    # a line begins with the pool's name and the id
    @members = sort { $a->{pool} cmp $b->{pool} || $a->{id} cmp $b->{id} }
                    @members;
    my $got = render(
        join("\n", map { my (undef, undef, @words) = split ' '; "@words" }
                       @lines),
        @members);
    my @got = split /\n/, $got;

    for my $i (0 .. $#got) {
        $got[$i] = "$members[$i]{pool} $members[$i]{id} $got[$i]"
            if $members[$i];
    }

    Test::More::is(join("\n", @got), join("\n", @lines),
                   $block->name . ' - x_members');
}

sub check_counters {
    my ($block) = @_;
    compare($block, 'x_counters', Sluice::Lane::counters(dir()));
}

sub check_zone {
    my ($block) = @_;
    my @zones = $block->x_zone =~ /^(\S+)/mg;
    compare($block, 'x_zone',
            map { Sluice::Lane::zone_counters(dir(), $_) } @zones);
}

sub names {
    my ($dir) = @_;

    opendir my $d, $dir or return 'no directory';
    my @names = grep { !/^\.\.?$/ } readdir $d;

    s/^(lane|\.new)\..+/$1.UUID/ for @names;
    return join "\n", sort @names;
}

sub check_files {
    my ($block) = @_;
    my $expected = join "\n", split /\n/, $block->x_files;
    my $end = time + 2;
    my $names;

    # an old worker may still be about to leave
    until (($names = names(dir())) eq $expected || time > $end) {
        sleep 0.02;
    }

    Test::More::is($names, $expected, $block->name . ' - x_files');
}

sub error_log {
    open my $in, '<', $Test::Nginx::Util::ErrLogFile or return;
    return <$in>;
}

sub check_log {
    my ($block) = @_;
    my @wrong;

    for my $line (grep { /\S/ } split /\n/, $block->x_log) {
        my ($from, $to, $like, $text) = $line =~ /^(\d+)(?:-(\d+))?: (~?)(.*)$/
            or die $block->name, ": bad x_log\n";
        my $pattern = $like ? qr/$text/ : qr/\Q$text\E/;
        my @lines = grep { $_ =~ $pattern } error_log();

        push @wrong, scalar(@lines) . " lines with \"$text\":\n", @lines
            if @lines < $from || @lines > ($to // $from);
    }

    Test::More::ok(!@wrong, $block->name . ' - x_log')
        or Test::More::diag(@wrong);
}

# $TEST_NGINX_RAND_PORT_1 is known from the configuration that was written.

sub check_curl {
    my ($block) = @_;

    open my $in, '<', $Test::Nginx::Util::ConfFile or die "no nginx.conf: $!";
    my $conf = do { local $/; <$in> };
    my %port = (SERVER => Test::Nginx::Util::server_port());

    ($port{PORT}) = $conf =~ /listen\s+127\.0\.0\.1:(\d+)/;
    ($port{HTTP2}) = $conf =~ /listen\s+127\.0\.0\.1:(\d+) http2/;
    my ($out, @under_way) = ('');

    for my $line (grep { /\S/ } split /\n/, $block->x_curl) {
        $line =~ s/\$(PORT|SERVER|HTTP2)\b/$port{$1}/g;

        my $wait = $line =~ s/^\+(\d+) // ? $1 / 1000 : undef;
        my $sleep = $wait ? "sleep $wait; " : '';

        open my $curl, '-|', "${sleep}curl -s --max-time 5 $line 2>&1"
            or die "no curl: $!";
        push @under_way, $curl;

        if (!defined $wait) {
            $out .= join '', <$_> for splice @under_way;
        }
    }

    $out .= join '', <$_> for @under_way;

    $out =~ s/\r//g;
    Test::More::is($out, $block->x_curl_out, $block->name . ' - x_curl');
}

# The server's configuration once more, for HTTP/2: nginx 1.22 does not know
# what the real one writes for "--- http2".  To be called when both are whole.

sub http2_server {
    my ($block) = @_;

    $block->set_value('http_config', $block->http_config . '
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_9 http2;
            ' . $block->config . '
        }
    ') if defined $block->x_http2;
}

# That the directory is not on tmpfs is said on the terminal, too.

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('suppress_stderr', '')
        if !defined $block->suppress_stderr;
});

Test::Nginx::Util::add_test_cleanup_handler(sub {
    my ($block) = @_;

    check_curl($block)     if defined $block->x_curl;
    check_records($block)  if defined $block->x_records;
    check_members($block)  if defined $block->x_members;
    check_counters($block) if defined $block->x_counters;
    check_zone($block)     if defined $block->x_zone;
    check_files($block)    if defined $block->x_files;
    check_log($block)      if defined $block->x_log;
});

1;
