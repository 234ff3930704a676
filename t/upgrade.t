# Why it exists: while a new binary takes over, workers of two masters serve:
# they charge one table, and each has a slot and a lane of its own.

use strict;
use warnings;

use Test::More tests => 9;

require './t/lib/Sluice/Conf.pm';
require './t/lib/Sluice/Lane.pm';

my $nginx = Sluice::Conf->new;
my $dir = "$nginx->{root}/sluice";

open my $out, '>', "$nginx->{root}/t" or die $!;
print $out "ok\n";
close $out;

$nginx->write_conf(
    main => 'worker_processes 1;',
    http => "sluice_dir $dir;
             sluice_limit_zone \$arg_k zone=rpm:64k window=1h;",
    location => 'sluice_usage on; sluice_limit zone=rpm limit=10;');

sub lanes { scalar(() = glob "$dir/lane.*") }
sub count { scalar(() = $_[0] =~ /$_[1]/g) }

$nginx->start;
is($nginx->get(('/t?k=1') x 3), '200 200 200', 'three of ten');
is(lanes(), 1, 'one lane');

# the new master, beside the old one

my $old = $nginx->pid;

kill 'USR2', $old;
ok($nginx->until(sub { $nginx->pid('.oldbin') && ($nginx->pid // $old) != $old
                       && lanes() == 2 }),
   'two masters, two lanes') or diag $nginx->log;

my $got = $nginx->get(('/t?k=1') x 20);
is(count($got, 200), 7, 'the seven that are left, whoever is asked');
is(count($got, 429), 13, 'and no more');

# the old one goes

kill 'QUIT', $old;
ok($nginx->until(sub { $nginx->gone($old) }), 'the old one leaves');
is($nginx->get('/t?k=1', '/t?k=2'), '429 200', 'what was counted counts on');

my @records = Sluice::Lane::all_records($dir);
is(scalar @records, 25, 'each request has its record');
unlike($nginx->log, qr/\[alert\]|\[crit\]|\[emerg\]|exited on signal/,
       'no alert');
