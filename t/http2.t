# Why it exists: the streams of an HTTP/2 connection are requests like others:
# each is admitted, limited and recorded for itself.

use IO::Socket::INET ();
use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 7;

# One connection, all streams at once; returns how many were ended.  Header
# fields are literals: the least that HPACK asks of a client.

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1)
           . pack('C C N', $type, $flags, $stream) . $payload;
}

sub fields {
    my $block = '';

    while (my ($name, $value) = splice @_, 0, 2) {
        $block .= pack 'C C/a C/a', 0, $name, $value;
    }

    return $block;
}

sub streams {
    my ($port, @paths) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port",
                                     Timeout => 5)
        or die "connect: $@";
    my ($in, $ended) = ('', 0);
    my $stream = -1;

    my $out = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, '');

    for my $path (@paths) {
        $out .= frame(1, 5, $stream += 2,
                      fields(':method', 'GET', ':scheme', 'http',
                             ':authority', 'localhost', ':path', $path,
                             'authorization', 'me'));
    }

    syswrite $sock, $out;

    local $SIG{ALRM} = sub { die "timed out\n" };
    alarm 5;

    while ($ended < @paths && sysread $sock, $in, 65536, length $in) {
        while (length $in >= 9) {
            my ($high, $low, $type, $flags) = unpack 'C n C C', $in;
            my $size = 9 + ($high << 16 | $low);

            last if length $in < $size;
            $ended++ if $type <= 1 && $flags & 1;
            substr $in, 0, $size, '';
        }
    }

    alarm 0;
    return $ended;
}

# the last handler is the first to run: before the records are looked at

add_test_cleanup_handler(sub {
    my ($block) = @_;
    my @paths = split ' ', $block->x_streams // return;

    open my $conf, '<', $Test::Nginx::Util::ConfFile or die $!;
    my ($port) = do { local $/; <$conf> } =~ /listen\s+127\.0\.0\.1:(\d+)/;

    is(streams($port, @paths), @paths, $block->name . ' - x_streams');
});

run_tests();

__DATA__

=== TEST 1: five streams of one connection, three are let through
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $sluice_client zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2;
        location = /t {
            sluice_usage on;
            sluice_client $http_authorization;
            sluice_limit zone=rpm limit=3;
            sluice_key p;
            sluice_error_format openai;
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        return 200 "$http_authorization $request_method\n";
    }
--- config
--- request
GET /
--- x_streams
/t /t?2 /t?3 /t?4 /t?5
--- x_records
outcome=admitted status=200 method=GET uri=/t host=localhost key=a client=~^[0-9a-f]{32}$ bytes_out=~^[1-9] flags=-
outcome=admitted status=200 key=b
outcome=admitted status=200 key=a
outcome=limit status=429 zone=rpm
outcome=limit status=429
--- x_members
p a used=2 in_flight=0
p b used=1 in_flight=0



=== TEST 2: a body, and HEAD
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2;
        location = /t {
            sluice_usage on;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        return 200 "$request_method $content_length\n";
    }
--- config
--- request
GET /
--- x_curl
--http2-prior-knowledge -d 0123456789 http://127.0.0.1:$PORT/t
--http2-prior-knowledge -I -o /dev/null -w '%{http_version} %{http_code}\n' http://127.0.0.1:$PORT/t
--- x_curl_out
POST 10
2 200
--- x_records
status=200 method=POST bytes_in=~^[1-9][0-9]{1,2}$
status=200 method=HEAD
