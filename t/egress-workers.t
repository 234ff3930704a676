# Why it exists: what one worker knows of a proxy all of them know, and what is
# in flight is counted over all of them; the next workers, too, begin with it.

use Test::More tests => 14;

use strict;
use warnings;

require './t/lib/Sluice/Conf.pm';
require './t/lib/Sluice/Lane.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

use Time::HiRes qw( sleep );

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'ok')]);
Sluice::Proxy::start(eu1 => 'http close', eu2 => 'http');

my $nginx = Sluice::Conf->new;
my $to = $ENV{TEST_NGINX_SLUICE_PORT};
my %port = map { ($_ => $ENV{"TEST_NGINX_SLUICE_PROXY_\U$_"}) } qw( eu1 eu2 );

sub configure {
    my ($more) = @_;

    $nginx->write_conf(
        main => 'worker_processes 4;',
        http => "sluice_dir $nginx->{root}/sluice;
            sluice_proxy_pool eu {
                proxy http://127.0.0.1:$port{eu1} id=eu1 fail_timeout=30s;
                proxy http://127.0.0.1:$port{eu2} id=eu2 backup;
                $more
            }
            upstream origin { server 127.0.0.1:$to; sluice_egress eu; }",
        location => 'proxy_connect_timeout 2s; proxy_pass http://origin;',
    );
}

sub members {
    return map { ($_->{id} => "$_->{state} $_->{in_flight}") }
               Sluice::Lane::members("$nginx->{root}/sluice");
}

# how often a proxy was

sub asked {
    my ($id) = @_;

    return scalar grep { $_ eq $id } Sluice::Proxy::control('asked') =~ /^(\w+)/mg;
}

configure('');
$nginx->start;

is($nginx->get(('/t') x 20), join(' ', (200) x 20), 'twenty requests');
is(asked('eu1'), 1, 'one of them has met the proxy that is down');
my %is = members();
is($is{eu1}, 'cooling 0', 'it rests');
is($is{eu2}, 'healthy 0', 'the other one does not');

# a reload

Sluice::Proxy::control('eu1/http');
configure('balance least_used;');
$nginx->signal('HUP', qr/reconfiguring/);
sleep 0.5;
is($nginx->get(('/t') x 8), join(' ', (200) x 8), 'new workers');
is(asked('eu1'), 1, 'let it rest');

# an upgrade

$nginx->signal('USR2', qr/start new binary process|signal 12/);
$nginx->until(sub { $nginx->pid('.oldbin') });
sleep 0.5;
is($nginx->get(('/t') x 8), join(' ', (200) x 8), 'another binary');
is(asked('eu1'), 1, 'lets it rest');
kill 'QUIT', $nginx->pid('.oldbin');
$nginx->until(sub { !$nginx->pid('.oldbin') });

# what a killed worker had in flight

Sluice::Proxy::control('eu2/http+mute');

my @waiting = map {
    my $sock = IO::Socket::UNIX->new(Peer => "$nginx->{root}/http.sock") or die;
    print $sock "GET /t HTTP/1.0\r\n\r\n";
    $sock->flush;
    $sock;
} 1 .. 8;

ok($nginx->until(sub { my %now = members(); $now{eu2} eq 'healthy 8' }),
   'eight in flight') or diag(explain({ members() }));

my ($master) = $nginx->pid;
kill 'KILL', grep { $_ } map { /^(\d+)/ } `ps -o pid= --ppid $master` =~ /(\d+)/g;

ok($nginx->until(sub { my %now = members(); $now{eu2} eq 'healthy 0' }),
   'and none when their workers are gone') or diag(explain({ members() }));

# workers that are to finish wait for a handshake, and no longer

Sluice::Proxy::control('eu2/http+slow');
my $sock = IO::Socket::UNIX->new(Peer => "$nginx->{root}/http.sock") or die;
print $sock "GET /t HTTP/1.0\r\n\r\n";
$sock->flush;
sleep 0.1;
$nginx->signal('HUP', qr/reconfiguring/);
my $answer = do { local $/; <$sock> } // '';
like($answer, qr{^HTTP/1.1 200}, 'a handshake within a reload ends well');

Sluice::Proxy::control('eu2/http');
is($nginx->get('/t'), '200', 'and the next');
ok($nginx->until(sub { my %now = members(); $now{eu2} eq 'healthy 0' }), 'none in flight');
unlike($nginx->log, qr/\[(alert|crit)\] (?!.*exited on signal 9)/, 'nothing else');
