# Why it exists: what is said of egress rests on proxies that do what their
# names say: a black hole that answers, or a password that nobody asks for,
# would let much of it pass.

use strict;
use warnings;

use IO::Socket::INET ();
use MIME::Base64 qw( encode_base64 );
use Socket qw( SOL_SOCKET SO_ERROR );
use Test::More;
use Time::HiRes qw( sleep );

require './t/lib/Sluice/Proxy.pm';
require './t/lib/Sluice/Upstream.pm';

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'origin'), undef]);

my $origin = "127.0.0.1:$ENV{TEST_NGINX_SLUICE_PORT}";

Sluice::Proxy::start(
    up      => 'http',
    auth    => 'http user=joe:p%3A%40%20ss',
    socks   => 'socks5',
    sauth   => 'socks5 user=joe:pass',
    turns   => ['http 503', 'http drop', 'http'],
    odd     => { http => ["ICY 200 OK\r\n\r\n"] },
    hostile => 'http hole',
    (map { ("h$_" => "http $_") } qw( refuse close reset ssh mute drop abort half
                                      bytes glued oversized interim 407 )),
    (map { ("s$_" => "socks5 $_") } qw( refuse hole bytes glued no-method name
                                        long-name ipv6 half 1 8 )),
);

sub dial {
    my ($name) = @_;

    return IO::Socket::INET->new(
        PeerHost => '127.0.0.1', Proto => 'tcp',
        PeerPort => $ENV{"TEST_NGINX_SLUICE_PROXY_\U$name"});
}

# All that comes until the end, or until nothing has come for a while.

sub heard {
    my ($sock) = @_;
    my $in = '';

    while (IO::Select->new($sock)->can_read(0.2)) {
        my $n = sysread $sock, $in, 65536, length $in;
        return $in . '<reset>' if !defined $n;
        return $in . '<end>' if !$n;
    }

    return $in . '<open>';
}

sub http {
    my ($name, $user, $to) = @_;
    my $sock = dial($name) or return '<refused>';
    my $auth = defined $user
               ? 'Proxy-Authorization: Basic ' . encode_base64($user, '') . "\r\n"
               : '';
    $to //= $origin;

    local $SIG{PIPE} = 'IGNORE';

    syswrite $sock, "CONNECT $to HTTP/1.1\r\nHost: $to\r\n$auth\r\n";
    return through($sock, '\r\n\r\n');
}

sub socks {
    my ($name, $user, $password) = @_;
    my $sock = dial($name) or return '<refused>';
    my ($host, $port) = split /:/, $origin;
    my $in = '';

    local $SIG{PIPE} = 'IGNORE';

    syswrite $sock, defined $user ? "\5\2\0\2" : "\5\1\0";
    return heard($sock) if !IO::Select->new($sock)->can_read(0.2);
    sysread $sock, $in, 2;
    return "method " . ord substr $in, 1 if $in !~ /^\x05[\0\2]/;

    if ($in eq "\5\2") {
        syswrite $sock, pack 'C C/a C/a', 1, $user, $password;
        sysread $sock, $in, 2;
        return 'user refused' if $in ne "\1\0";
    }

    syswrite $sock, "\5\1\0\1" . Socket::inet_aton($host) . pack 'n', $port;
    return through($sock, "^\\x05");
}

# A request follows what was answered, if that was well.

sub through {
    my ($sock, $whole) = @_;
    my $in = heard($sock);

    return $in if $in !~ /$whole.*<open>$/s || $in =~ /glued/;

    syswrite $sock, "GET /t HTTP/1.0\r\n\r\n";
    return $in =~ s/<open>$//r . heard($sock);
}

my $got = qr/HTTP\/1.1 200 X\r\nContent-Length: 6\r\n\r\norigin<end>$/;

like(http('up'), qr/^HTTP\/1.1 200 [^\r]+\r\n\r\n$got/, 'CONNECT');
like(http('up', undef, 'name.test:' . (split /:/, $origin)[1]), $got, 'a name');
like(http('up', undef, '127.0.0.1:1'), qr/^HTTP\/1.1 502/, 'no origin');
like(http('auth', 'joe:p:@ ss'), $got, 'CONNECT with a password');
like(http('auth', 'joe:p'), qr/^HTTP\/1.1 407/, 'with another');
like(http('auth'), qr/^HTTP\/1.1 407/, 'nobody');
like(socks('socks'), qr/^\x05\0.*$got/s, 'SOCKS5');
like(socks('sauth', 'joe', 'pass'), $got, 'with a password');
is(socks('sauth', 'joe', 'x'), 'user refused', 'with another');
is(socks('sauth'), 'method 255', 'with none');

is(Sluice::Proxy::control('asked'), <<"_END_", 'what they were asked');
up CONNECT $origin -
up CONNECT name.test:$ENV{TEST_NGINX_SLUICE_PORT} -
up CONNECT 127.0.0.1:1 -
auth CONNECT $origin joe
auth CONNECT $origin joe
auth CONNECT $origin -
socks SOCKS5 $origin -
sauth SOCKS5 $origin joe
sauth SOCKS5 - joe
sauth SOCKS5 - -
_END_

like(http('turns'), qr/^HTTP\/1.1 503.*<end>$/s, 'the first');
is(http('turns'), '<end>', 'the second');
like(http('turns'), $got, 'the third') for 1 .. 2;

is(http('hrefuse'), '<refused>', 'a closed port');
is(http('hostile'), '<open>', 'a black hole');
like(http('hclose'), qr/^<(end|reset)>$/, 'closes');
like(http('hreset'), qr/^<(end|reset)>$/, 'resets');      # a write may learn of it
is(http('hssh'), "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n<open>", 'another protocol');
is(http('hmute'), '<open>', 'was asked, and says nothing');
is(http('hdrop'), '<end>', 'was asked, and closes');
is(http('habort'), '<reset>', 'was asked, and resets');
is(http('hhalf'), 'HTTP/1.1 200 Connec<end>', 'half of a line');
like(http('hbytes'), qr/^HTTP\/1.1 200 OK\r\nVia: .*$got/s, 'byte by byte');
like(http('hglued'), qr/^HTTP\/1.1 200 .*\r\n\r\nHTTP.*glued/s, 'a glued answer');
is(length http('hoversized'), 17 + 17000 + 2 + length "HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\norigin<end>",
   'a long head');
like(http('hinterim'), qr/ 100 .* 102 .* 200 .*$got/s, 'interim answers');
like(http('h407'), qr/ 407 .*<end>$/s, 'a status');
like(http('odd'), qr/^ICY.*$got/s, 'an answer of the test');

is(socks('srefuse'), '<refused>', 'a closed port');
is(socks('shole'), '<open>', 'a black hole');
like(socks('sbytes'), $got, 'byte by byte');
like(socks('sglued'), qr/glued/, 'a glued answer');
is(socks('sno-method'), 'method 255', 'no method');
like(socks('sname'), qr/^\x05\0\x00\x03\x0bexample.org..$got/s, 'a name');
like(socks('slong-name'), qr/^\x05\0\x00\x03\xffx{255}..$got/s, 'a long one');
like(socks('sipv6'), qr/^\x05\0\x00\x04.{18}$got/s, 'an address of IPv6');
is(socks('shalf'), "\5\0\0<end>", 'half an answer');
like(socks("s$_"), qr/^\x05\Q@{[ chr ]}\E\x00\x01.{6}<end>$/s, "reply $_") for 1, 8;

Sluice::Proxy::control('up/http+403/http+refuse');
like(http('up'), qr/ 403 /, 'changed');
is(http('up'), '<refused>', 'and closed');
Sluice::Proxy::control('up/http');
my $kept = dial('up');
syswrite $kept, "CONNECT $origin HTTP/1.1\r\nHost: $origin\r\n\r\nmore";
like(heard($kept), qr/<open>$/, 'and open again');
like(Sluice::Proxy::control('asked'), qr/up CONNECT $origin - early\n$/, 'who comes early');
Sluice::Proxy::control('up/cut');
like(heard($kept), qr/^<(end|reset)>$/, 'and cut');
Sluice::Proxy::control('');
is(Sluice::Proxy::control('asked'), '', 'all begin anew');
like(http('turns'), qr/^HTTP\/1.1 503/, 'as they were started');

done_testing();
