# Why it exists: keys and servers fail for reasons of their own: a key that is
# refused costs no server its turn, a server that fails goes on with another
# key if the first was sent, and the connections and balancers are stock ones.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

use File::Temp ();

plan tests => 96;

sub answer { return Sluice::Upstream::answer(@_) }

Sluice::Upstream::start(
    '/150ms'  => [\0.15, answer(200, 'ok')],
    '/late'   => [\1, undef],
    '/cut'    => [undef],
    '/bad'    => ["HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n"
                  . "2\r\nno\r\n0\r\n\r\n"],
    'B /bad'  => ["HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n\$n \$nth\n"],
    'A /once' => ["HTTP/1.1 429 X\r\nConnection: close\r\n"
                  . "Content-Length: 2\r\n\r\nno", \0.05],
    'B /once' => ["HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n\$n \$nth\n"],
    '/stale'  => [answer(200, 'ok'), \0.05, undef],
);

# each name has two addresses, and nobody listens at the second

my $dns = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp')
    or die "cannot bind: $@";
my $resolver = fork // die "cannot fork: $!";

if (!$resolver) {
    open $_, '>', '/dev/null' for \*STDOUT, \*STDERR;
    $SIG{$_} = 'DEFAULT' for qw( INT TERM HUP );

    while (defined $dns->recv(my $query, 512)) {
        $dns->send(pack('a2 n5', $query, 0x8180, 1, 2, 0, 0)
                   . substr($query, 12)
                   . join '', map { pack 'n3 N n C4',
                                         0xc00c, 1, 1, 60, 4, 127, 0, 0, $_ }
                                  1, 77);
    }

    POSIX::_exit(0);
}

END { kill 'TERM', $resolver if $resolver }

$ENV{TEST_NGINX_SLUICE_DNS} = $dns->sockport;

# a certificate for an hour

$ENV{TEST_NGINX_SLUICE_TLS} = File::Temp::tempdir('sluice-XXXXXX',
                                                  TMPDIR => 1, CLEANUP => 1);

system("cd $ENV{TEST_NGINX_SLUICE_TLS} && openssl req -x509 -nodes -days 1"
       . " -newkey rsa:2048 -keyout key -out crt -subj /CN=test 2> errors") == 0
    or die 'openssl cannot make a certificate';

add_block_preprocessor(sub {
    my ($block) = @_;
    my $keys = $block->x_keys // 'key A id=a; key B id=b; key C id=c;';
    my $servers = join '', map { "
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_$_;
            location = /one {
                if (\$server_port = \$TEST_NGINX_RAND_PORT_1) { return 500 no; }
                return 200 \"$_ \$http_authorization\\n\";
            }
            location / {
                if (\$http_authorization = \$arg_a) { return 401 no; }
                if (\$http_authorization = \$arg_b) { return 401 no; }
                if (\$http_authorization = \$arg_c) { return 401 no; }
                return 200 \"$_ \$http_authorization \$connection_requests\\n\";
            }
        }" } 1 .. 2;

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { $keys }
        sluice_key_pool hashed { balance hash \$uri; $keys }
        upstream two {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
        }
        upstream one {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
        }
        upstream kept {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            keepalive 4;
        }
        upstream least {
            least_conn;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
        }
        upstream hashed {
            hash \$uri consistent;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
        }
        upstream half {
            server 127.0.0.1:1;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
        }
        upstream dead {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            server 127.0.0.1:1 max_fails=0;
        }
        upstream script {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            keepalive 4;
        }
        $servers
        " . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        sluice_key p;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Authorization $sluice_key;
        proxy_read_timeout 200ms;
        location ~ ^/(?<up>two|one|kept|least|hashed|half|script)(?<at>/.*)$ {
            proxy_pass http://$up$at$is_args$args;
        }
        location ~ ^/next/(?<up>two|one|kept|half|script)(?<at>/.*)$ {
            proxy_next_upstream error timeout http_500;
            proxy_pass http://$up$at$is_args$args;
        }
        location ~ ^/port/(?<at>.*)$ {
            set $to 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            proxy_pass http://$to/$at$is_args$args;
        }
        location = /down {
            set $to 127.0.0.1:1;
            proxy_pass http://$to;
        }
        location = /pause {
            sluice_key off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/150ms;
        }
        ' . ($block->config // ''));
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: one server: it is asked again, with another key
--- request
GET /one/?a=A&b=B
--- response_body_like: ^1 C \d$
--- x_records
status=200 tries=3 keys=401@a+401@b+200@c



=== TEST 2: several servers: each in its turn, as often as there are keys
--- request
GET /two/?a=A&b=B
--- response_body_like: ^[12] C \d$
--- x_records
status=200 tries=3 keys=401@a+401@b+200@c



=== TEST 3: the last answer is the client's: no server is blamed for a key
--- request eval
["GET /two/?a=A&b=B&c=C", "GET /two/?a=A&b=B&c=C", "GET /two/"]
--- error_code eval
[401, 401, 200]
--- x_records
status=401 tries=3 keys=401@a+401@b+401@c
status=401 tries=3 keys=~^401@[abc].401@[abc].401@[abc]$
status=200 tries=1 keys=~^200@[abc]$
--- x_log
0: upstream server temporarily disabled
0: no live upstreams



=== TEST 4: least_conn
--- request
GET /least/?a=A&b=B
--- response_body_like: C \d
--- x_records
status=200 tries=3 keys=401@a+401@b+200@c



=== TEST 5: hash
--- request
GET /hashed/?a=A&b=B
--- response_body_like: C \d
--- x_records
status=200 tries=3 keys=401@a+401@b+200@c



=== TEST 6: a connection that is kept serves the next try
--- request eval
["GET /kept/?a=A", "GET /kept/"]
--- response_body eval
["1 B 2\n", "1 C 3\n"]
--- x_records
keys=401@a+200@b
keys=200@c



=== TEST 7: not if more may come
--- request
GET /script/bad
--- response_body_like: ^[0-9]+ 1$
--- x_records
keys=429@a+200@b



=== TEST 8: nor if the upstream does not keep it
--- request
GET /script/once
--- response_body_like: ^[0-9]+ 1$
--- x_records
keys=429@a+200@b



=== TEST 9: a kept connection that was closed meanwhile is nobody's fault
--- request eval
["GET /script/stale", "GET /pause", "GET /script/stale"]
--- error_code eval
[200, 200, 200]
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a used=1 error=0 state=healthy
p b used=~^[12]$ error=0 state=healthy
p c used=0



=== TEST 10: no connection: the next server gets the same key, which nobody has seen
--- request
GET /half/
--- response_body
2 A 1
--- x_records
status=200 tries=2 keys=502@a+200@a
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a used=1 in_flight=0 connect=0
p b used=0
p c used=0



=== TEST 11: nginx goes on by itself: with another key, which may do better
--- request
GET /next/two/one
--- response_body
2 B
--- x_records
status=200 tries=2 keys=500@a+200@b



=== TEST 12: with the same one, if there is no other
--- x_keys: key A id=a;
--- request
GET /next/two/one
--- response_body
2 A
--- x_records
status=200 tries=2 keys=500@a+200@a
--- x_members
hashed a used=0
p a used=2 in_flight=0 error=1



=== TEST 13: only nginx's own tries count for nginx
--- request
GET /next/two/?a=A
--- error_code: 200
--- x_records
keys=401@a+200@b



=== TEST 14: a timeout: as proxy_next_upstream says
--- http_config
    upstream slow {
        server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- config
    location = /late {
        proxy_pass http://slow;
    }
    location = /late-off {
        proxy_next_upstream off;
        rewrite ^ /late break;
        proxy_pass http://slow;
    }
--- request eval
["GET /late", "GET /late-off"]
--- error_code_like eval
["200", "200|504"]
--- x_records
status=200 tries=2 keys=504@a+200@b
tries=1
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a timeout=1 in_flight=0
p b in_flight=0
p c in_flight=0



=== TEST 15: an address that is known when the request comes
--- request
GET /port/?a=A&b=B
--- response_body
1 C 1
--- x_records
status=200 tries=3 keys=401@a+401@b+200@c
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a used=1 in_flight=0 denied=1
p b used=1 in_flight=0 denied=1
p c used=1 in_flight=0



=== TEST 16: no connection to it
--- x_keys: key A id=a; breaker errors=2;
--- request eval
["GET /down", "GET /down", "GET /down"]
--- error_code eval
[502, 502, 503]
--- x_records
status=502 tries=1 keys=502@a
status=502 tries=1 keys=502@a
outcome=no_key tries=0
--- x_members
hashed a used=0
p a used=0 in_flight=0 connect=2



=== TEST 17: an upstream with a zone
--- http_config
    upstream shared {
        zone shared 64k;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2 backup;
    }
--- config
    location / {
        proxy_pass http://shared;
    }
--- request
GET /?a=A&b=B
--- response_body_like: C \d
--- x_records
keys=401@a+401@b+200@c



=== TEST 18: no more tries, and no longer, than nginx is allowed
--- config
    location = / {
        proxy_next_upstream_tries 1;
        proxy_pass http://two;
    }
--- request
GET /?a=A&b=B
--- error_code: 200
--- x_records
keys=401@a+401@b+200@c



=== TEST 19: each key once, however many tries there may be
--- config
    location / {
        sluice_key_tries 10;
        proxy_pass http://two;
    }
--- request
GET /?a=A&b=B&c=C
--- error_code: 401
--- x_records
status=401 tries=3 keys=401@a+401@b+401@c



=== TEST 20: the one that was refused is not asked again, though it is the hash's
--- config
    location / {
        sluice_key hashed;
        proxy_pass http://one;
    }
--- request eval
["GET /x?a=A", "GET /x?b=B", "GET /x?c=C"]
--- error_code eval
[200, 200, 200]
--- x_records
status=200 keys=~^(401@a.)?200@[bc]$
status=200 keys=~^(401@b.)?200@[ac]$
status=200 keys=~^(401@c.)?200@[ab]$



=== TEST 21: TLS, with and without an upstream of that name
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3 ssl;
        ssl_certificate $TEST_NGINX_SLUICE_TLS/crt;
        ssl_certificate_key $TEST_NGINX_SLUICE_TLS/key;
        if ($http_authorization = A) { return 401 no; }
        return 200 "$http_authorization $connection_requests";
    }
    sluice_key_pool r { key A id=a; key B id=b; }
    upstream tls {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        keepalive 4;
    }
--- config
    location = /tls {
        proxy_pass https://tls;
    }
    location = /address {
        sluice_key r;
        set $to 127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        proxy_pass https://$to;
    }
--- request eval
["GET /tls", "GET /tls", "GET /address"]
--- response_body_like eval
["^B 2\$", "^[BC] 3\$", "^B 1\$"]
--- x_records
keys=401@a+200@b
keys=~^200@[bc]$
keys=401@a+200@b



=== TEST 22: no TLS where it was hoped for: the key was not seen
--- x_keys: key A id=a limit=1/1h; breaker errors=3;
--- config
    location = /tls {
        proxy_pass https://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /address {
        set $to 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        proxy_pass https://$to;
    }
--- request eval
["GET /tls", "GET /address", "GET /one/"]
--- error_code eval
[502, 502, 200]
--- x_members
hashed a used=0
p a used=1 in_flight=0 connect=2 state=healthy



=== TEST 23: a server that is dead: the next key has its turn at the other one
--- http_config
    upstream sometimes {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server 127.0.0.1:1;
    }
--- config
    location / {
        proxy_pass http://sometimes;
    }
--- request
GET /?a=A
--- response_body_like: ^1 B \d$
--- x_records
status=200 tries=3 keys=401@a+502@b+200@b
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a used=1 in_flight=0 connect=0 denied=1
p b used=1 in_flight=0 connect=0
p c used=0



=== TEST 24: which may be asked first once more, and each key to the last
--- config
    location / {
        proxy_pass http://dead;
    }
--- request
GET /?a=A&b=B
--- response_body_like: ^1 C \d$
--- x_records
status=200 keys=~^401@a(.502@b){1,2}.401@b(.502@c){0,2}.200@c$
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a used=1 in_flight=0 connect=0
p b used=1 in_flight=0 connect=0
p c used=1 in_flight=0 connect=0



=== TEST 25: if all are refused, that is the end
--- config
    location / {
        proxy_pass http://dead;
    }
--- request
GET /?a=A&b=B&c=C
--- error_code: 401
--- x_records
status=401 keys=~^401@a(.502@b){1,2}.401@b(.502@c){0,2}.401@c$



=== TEST 26: no more of these tries than nginx is allowed; nor is the key blamed
--- config
    location / {
        proxy_next_upstream_tries 1;
        proxy_pass http://dead;
    }
--- request
GET /?a=A
--- error_code: 502
--- x_records
status=502 tries=2 keys=401@a+502@b
--- x_members
hashed a used=0
hashed b used=0
hashed c used=0
p a used=1 in_flight=0 connect=0
p b used=0 in_flight=0 connect=0
p c used=0



=== TEST 27: addresses of a resolver's, one of which is dead
--- config
    location / {
        resolver 127.0.0.1:$TEST_NGINX_SLUICE_DNS ipv6=off;
        set $name two.test;
        proxy_pass http://$name:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /?a=A&b=B
--- response_body_like: ^1 C \d$
--- x_records
status=200 keys=~^(502@a.)?401@a(.502@b){0,2}.401@b(.502@c){0,2}.200@c$
