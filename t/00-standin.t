# Why it exists: these files run under CPAN's Test::Nginx::Socket and under
# the stand-in in t/lib.  The two must agree on what they check, and on how
# many tests they make of it: here is a little of each, with stock nginx only.

use Test::Nginx::Socket;

repeat_each(2);

# each block: its status, and what it asks for; the last line is made once
plan tests => repeat_each() * (5 + 6 + 6 + 7 + 3) + 1;

no_long_string();
run_tests();

__DATA__

=== TEST 1: headers, present and absent, and a body
--- config
    location = /t {
        add_header X-One "1 $arg_a";
        return 200 "hello\n";
    }
--- request
GET /t?a=b
--- response_headers
X-One: 1 b
!X-Two
--- response_body
hello
--- no_error_log
[error]



=== TEST 2: several requests; a status each, and the log after each
--- config
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/file;
    }
    location = /no {
        return 403;
    }
--- user_files
>>> file
here
--- request eval
["GET /t", "GET /no"]
--- error_code eval
[200, 403]
--- response_body eval
["here\n", qr/403 Forbidden/]
--- no_error_log
[alert]



=== TEST 3: pipelined, with headers of their own, through an upstream
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "$request_method $http_x";
    }
--- config
    location = /t {
        proxy_set_header Connection "";
        proxy_http_version 1.1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- pipelined_requests eval
["GET /t", "POST /t\nbody"]
--- more_headers eval
["X: a", "X: b"]
--- response_body eval
["GET a", "POST b"]
--- raw_response_headers_like eval
["^HTTP/1.1 200 OK\r\n", "\r\nConnection: close\r\n"]



=== TEST 4: logs
--- config
    location = /t {
        root /nonexistent;
    }
--- request
GET /t
--- error_code_like: ^404$
--- response_body_like: 404 Not Found
--- error_log eval
["No such file", qr/\[error\] .* open\(\)/]
--- grep_error_log eval: qr/open\(\) "[^"]+"/
--- grep_error_log_out
open() "/nonexistent/t"
--- access_log
GET /t
--- no_access_log
POST /t
--- shutdown_error_log
exit



=== TEST 5: a configuration that nginx refuses
--- config
    no_such_directive;
--- must_die: 1
--- error_log
unknown directive "no_such_directive"
--- no_error_log
[alert]
--- suppress_stderr
