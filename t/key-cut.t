# Why it exists: an answer may begin well and never come to its end.  The key
# was judged by its header then, and no breaker would ever open; but a client
# that leaves, or reads slowly, must not open one.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 37;

sub answer { return Sluice::Upstream::answer(@_) }

my $length = "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n";
my $chunks = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n";

Sluice::Upstream::start(
    '/ok'           => [answer(200, 'ok')],
    '/150ms'        => [\0.15, answer(200, 'ok')],
    '/bad'          => [answer(500, 'bad')],
    '/stall'        => [$length, \1, undef],
    '/stall-some'   => [$length . 'some', \1, undef],
    '/stall-chunks' => [$chunks, \1, undef],
    '/cut'          => [$length . 'some', undef],
    '/cut-chunks'   => [$chunks, undef],
    '/cut-404'      => ["HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\nno", undef],
    '/no-length'    => ["HTTP/1.1 200 X\r\n\r\nsome", undef],
    '/chunks'       => [$chunks, \0.05, "0\r\n\r\n"],
    '/late'         => [$length . 'some', \0.5, ' more'],
    '/upgrade'      => ["HTTP/1.1 101 X\r\nUpgrade: x\r\n"
                        . "Connection: upgrade\r\n\r\n", \0.6, undef],
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $pool = $block->x_pool // 'breaker errors=2 window=10s open=5s;';
    my $curl = '';

    # a line of it: when, or one by one; a path; how it is asked for

    for (split /\n/, $block->x_ask) {
        my ($when, $path, @more) = /^(\+\d+ )?(\S+) ?(.*)/;
        $curl .= ($when // '') . "-s -o /dev/null -w '%{http_code} %{exitcode}\\n' @more "
                 . "http://127.0.0.1:\$SERVER$path\n";
    }

    $block->set_value('x_curl', $curl);
    $block->set_value('request', 'GET /state');
    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key sk-1 id=a; $pool }
    ");
    $block->set_value('config', '
        location = /state { return 200; }
        location / {
            sluice_key p;
            proxy_http_version 1.1;
            proxy_read_timeout 250ms;
            proxy_set_header Connection "";
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            location /raw/ {
                proxy_buffering off;
                proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
            }
            location /patient/ {
                proxy_read_timeout 2s;
                proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
            }
            location = /upgrade {
                proxy_set_header Connection upgrade;
                proxy_set_header Upgrade x;
                proxy_set_header Authorization $sluice_key;
                proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            }
        }
    ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: no body in time
--- x_ask
/stall
/stall
/ok
--- x_curl_out
200 18
200 18
503 0
--- x_members
p a state=cooling for=5000 reason=errors status=200 timeout=2 error=0 used=2
--- x_log
1: key "a" of pool "p" is cooling for 5 seconds after errors, the last with status 200 and no end



=== TEST 2: a part of it
--- x_ask
/stall-some
/stall-chunks
--- x_curl_out
200 18
200 18
--- x_members
p a state=cooling reason=errors timeout=2 error=0



=== TEST 3: the connection ends
--- x_ask
/cut
/cut-chunks
--- x_curl_out
200 18
200 18
--- x_members
p a state=cooling reason=errors timeout=0 error=2



=== TEST 4: no body in time, without buffers
--- x_ask
/raw/stall-some
/raw/stall-chunks
--- x_curl_out
200 18
200 18
--- x_members
p a state=cooling reason=errors timeout=2 error=0



=== TEST 5: the connection ends, without buffers
--- x_ask
/raw/cut
/raw/cut-chunks
--- x_curl_out
200 18
200 18
--- x_members
p a state=cooling reason=errors timeout=0 error=2



=== TEST 6: an answer that comes whole ends the row
--- x_ask
/cut
/ok
/cut
/chunks
/cut
/raw/ok
/cut
/no-length
/cut
--- x_curl_out
200 18
200 0
200 18
200 0
200 18
200 0
200 18
200 0
200 18
--- x_members
p a state=healthy error=5 used=9



=== TEST 7: one that only begins well does not
--- x_ask
/cut
/patient/late -m 0.2
/cut
--- x_curl_out
200 18
000 28
200 18
--- x_members
p a state=cooling error=2 used=3



=== TEST 8: a client that leaves says nothing
--- x_pool: breaker errors=1 window=10s open=5s;
--- x_ask
/patient/late -m 0.2
/raw/late -m 0.1
/patient/late
--- x_curl_out
000 28
200 28
200 0
--- x_members
p a state=healthy error=0 timeout=0 used=3



=== TEST 9: with errors in one row
--- x_ask
/cut
/bad
--- x_curl_out
200 18
500 0
--- x_members
p a state=cooling reason=errors error=2



=== TEST 10: a probe that does not end well: open again, at once
--- x_pool: breaker errors=3 window=10s open=400ms max=10s;
--- x_ask
+0 /bad
+50 /bad
+100 /bad
+700 /cut
+800 /ok
--- x_curl_out
500 0
500 0
500 0
200 18
503 0
--- x_members
p a state=cooling error=4 used=4



=== TEST 11: an error of the client's that is cut
--- x_pool: breaker errors=1 window=10s open=5s;
--- x_ask
/cut-404
--- x_curl_out
404 18
--- x_members
p a state=healthy error=0 client=1



=== TEST 12: what was upgraded ends when nobody says anything
--- x_pool: breaker errors=1 window=10s open=5s;
--- x_ask
/upgrade -H Upgrade:x -H Connection:upgrade -m 1
--- x_curl_out
101 52
--- x_members
p a state=healthy error=0 timeout=0
