# Why it exists: the table of a former size counts for two windows from when
# its last user has gone, not from when a worker has last looked: one that was
# stopped meanwhile must not forget what was charged an instant ago.

use strict;
use warnings;

use Test::More tests => 6;
use Time::HiRes qw( sleep clock_gettime CLOCK_MONOTONIC );

require './t/lib/Sluice/Conf.pm';

my $window = 3;
my $nginx = Sluice::Conf->new;
my $dir = "$nginx->{root}/sluice";

open my $out, '>', "$nginx->{root}/t" or die $!;
print $out "ok\n";
close $out;

sub conf {
    my ($size) = @_;

    $nginx->write_conf(
        main => 'worker_processes 1;',
        http => "sluice_dir $dir;
                 sluice_limit_zone \$arg_k zone=rpm:$size window=${window}s;",
        location => 'sluice_limit zone=rpm limit=10;');
}

conf('64k');
$nginx->start;

# a new master with a larger zone, beside the old one

my $old = $nginx->pid;

conf('128k');
kill 'USR2', $old;
ok($nginx->until(sub { $nginx->log =~ /"zone.rpm.1" counts, too/
                       && 2 == (() = $nginx->log =~ /start worker process /g) }),
   'two masters') or diag $nginx->log;

my ($worker) = $nginx->log =~ /.* start worker process (\d+)/s;

sleep 0.7;                              # it has seen the old one
kill 'STOP', $worker;
sleep 2 * $window + 0.1;

# all within one window: the old worker charges and goes, the new one wakes up

my $now = clock_gettime(CLOCK_MONOTONIC);
sleep $window - ($now - $window * int($now / $window)) + 0.05;

is($nginx->get(('/t?k=1') x 11), '200 ' x 10 . '429', 'ten, by the old one');

kill 'QUIT', $old;
ok($nginx->until(sub { $nginx->gone($old) }), 'the old one leaves');

kill 'CONT', $worker;
sleep 0.6;

is($nginx->get('/t?k=1', '/t?k=2'), '429 200', 'counted on by the new one');

# and then it ends

sleep 2 * $window;
ok($nginx->until(sub { !-e "$dir/zone.rpm.1" }), 'over');
unlike($nginx->log, qr/\[alert\]|\[crit\]|\[emerg\]|exited on signal/,
       'no alert');
