# Why it exists: two workers that charge the same keys at the same time let
# exactly so many through, and who is refused by the last limit because
# another request came first gets back what the first limit was charged.

use strict;
use warnings;

use Test::More tests => 5;

require './t/lib/Sluice/Conf.pm';
require './t/lib/Sluice/Lane.pm';

my $keys = 4000;
my @between = 1 .. 14;      # the more, the longer a race is open
my $nginx = Sluice::Conf->new;
my $dir = "$nginx->{root}/sluice";

open my $out, '>', "$nginx->{root}/t" or die $!;
print $out "ok\n";
close $out;

my $zones = join '', map { "sluice_limit_zone all zone=z$_:64k window=1h;" }
                         @between;
my $limits = join '', map { "sluice_limit zone=z$_ limit=1000000;" } @between;

$nginx->write_conf(
    server => 'location = /pid { return 200 $pid; }',
    main => 'worker_processes 2;',
    http => "sluice_dir $dir;
             error_log $nginx->{root}/error.log crit;
             keepalive_requests 100000;
             sluice_limit_zone \$server_port zone=unused:64k window=1h;
             sluice_limit_zone all zone=first:64k window=1h;
             $zones
             sluice_limit_zone \$arg_k zone=last:1m window=1h;",
    location => "sluice_limit zone=first limit=@{[ $keys + 10 ]};
                 $limits
                 sluice_limit zone=last limit=\$arg_n;");

$nginx->start;

# Reads so many answers; returns their statuses and the last one's body.

sub answers {
    my ($sock, $n) = @_;
    my ($in, @status, $body) = '';

    while (@status < $n) {
        if ($in !~ s{\A HTTP/1\.1\ (\d+) .*?
                     Content-Length:\ (\d+) .*? \r\n\r\n}{}xs)
        {
            sysread $sock, $in, 65536, length $in or die "closed\n";
            next;
        }

        push @status, $1;
        my $length = $2;

        while (length $in < $length) {
            sysread $sock, $in, 65536, length $in or die "closed\n";
        }

        $body = substr $in, 0, $length, '';
    }

    return $body, @status;
}

# A connection to each of the two workers.

sub connect_to_both {
    my %sock;

    for (1 .. 1000) {
        my $sock = IO::Socket::UNIX->new(Peer => "$nginx->{root}/http.sock")
            or die "connect: $!\n";

        syswrite $sock, "GET /pid HTTP/1.1\r\nHost: l\r\n\r\n";
        my ($pid) = answers($sock, 1);
        $sock{$pid} //= $sock;

        return values %sock if keys %sock == 2;
    }

    die "one worker serves alone\n";
}

# All clients ask both workers for the same keys in the same order, a burst at
# a time, so that they come to each of them at nearly the same time.  Returns
# how many answers were 200.

sub client {
    my @socks = connect_to_both();
    my $passed = 0;

    for (my $k = 0; $k < $keys; $k += 50) {
        my $burst = join '', map { "GET /t?n=1&k=$_ HTTP/1.1\r\nHost: l\r\n\r\n" }
                                 $k .. $k + 49;

        syswrite $_, $burst for @socks;

        for my $sock (@socks) {
            my (undef, @status) = answers($sock, 50);
            $passed += grep { $_ == 200 } @status;
        }
    }

    return $passed;
}

my @pipes;

for (1 .. 2) {
    pipe my $in, my $w or die $!;
    my $pid = fork // die $!;

    if (!$pid) {
        my $passed = eval { client() } // $@;
        syswrite $w, $passed;
        close $w;
        require POSIX;
        POSIX::_exit(0);
    }

    push @pipes, $in;
}

my $passed = 0;

for my $in (@pipes) {
    sysread $in, my $n, 100;
    $passed += $n;
}

wait for 1 .. 2;

is($passed, $keys, 'one request for each key');

my $used = Sluice::Lane::zone_counters($dir, 'last');
cmp_ok($used->{refused}, '>=', 3 * $keys - 10, 'the others were refused');

# what the first limit has left shows whether it was charged for them

is($nginx->get(map { "/t?n=100&k=other$_" } 1 .. 12),
   join(' ', (200) x 10, (429) x 2), 'the first limit was charged for those');

my @workers = grep { $_->{passed} } columns($dir);
is(scalar @workers, 2, 'two workers have charged');
unlike($nginx->log, qr/\[alert\]|\[crit\]|\[emerg\]/, 'no alert');

sub columns {
    my ($dir) = @_;

    return map { { passed => (unpack 'Q', $_)[0] } }
           unpack '(a64)*',
           Sluice::Lane::sections("$dir/zone.last.1", 2)->{section}[1];
}
