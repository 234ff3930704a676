# Why it exists: a refused client reads an error in its own dialect, so that
# its library raises the error that it has for the case.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 29;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        map $arg_limit $no { default 0; none ""; }
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_limit_zone all zone=other:64k window=1h;
        sluice_ring 64k open=1;
    ' . ($block->http_config // ''));
    $block->set_value('config', '
        location = /problem {
            sluice_limit zone=rpm limit=$no;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
        location = /openai {
            sluice_error_format openai;
            sluice_limit zone=rpm limit=$no;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
        location = /anthropic {
            sluice_error_format anthropic;
            sluice_limit zone=rpm limit=$no;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
    ' . ($block->config // ''));
});

run_tests();

__DATA__

=== TEST 1: over a limit
--- request eval
["GET /problem", "GET /openai", "GET /anthropic"]
--- error_code eval
[429, 429, 429]
--- response_headers eval
["Content-Type: application/problem+json", "Content-Type: application/json",
 "Content-Type: application/json"]
--- response_body eval
['{"type":"about:blank","title":"Too Many Requests","status":429,'
 . '"detail":"Rate limit reached. Try again later."}' . "\r\n",
 '{"error":{"message":"Rate limit reached. Try again later.",'
 . '"type":"requests","param":null,"code":"rate_limit_exceeded"}}' . "\r\n",
 '{"type":"error","error":{"type":"rate_limit_error",'
 . '"message":"Rate limit reached. Try again later."}}' . "\r\n"]



=== TEST 2: a limit without a value
--- request eval
["GET /problem?limit=none", "GET /openai?limit=none",
 "GET /anthropic?limit=none"]
--- error_code eval
[500, 500, 500]
--- response_body_like eval
['^\{"type":"about:blank","title":"Internal Server Error","status":500,'
 . '"detail":"The gateway is misconfigured."\}\r\n$',
 '^\{"error":\{"message":"The gateway is misconfigured.",'
 . '"type":"server_error","param":null,"code":"gateway_misconfigured"\}\}\r\n$',
 '^\{"type":"error","error":\{"type":"api_error",'
 . '"message":"The gateway is misconfigured."\}\}\r\n$']



=== TEST 3: a body that nobody reads
--- pipelined_requests eval
["POST /openai\n" . "x" x 100000, "GET /anthropic"]
--- error_code eval
[429, 429]
--- response_body_like eval
["rate_limit_exceeded", "rate_limit_error"]



=== TEST 4: OpenAI's names what there is too much of
--- http_config
    sluice_limit_zone all zone=tpm:64k window=1h unit=tokens;
    sluice_limit_zone all zone=bpm:64k window=1h unit=bytes;
    sluice_limit_conn_zone all zone=par:64k;
--- config
    sluice_error_format openai;
    sluice_limit zone=rpm limit=2 weight=$arg_rpm;
    sluice_limit zone=tpm limit=2 weight=$arg_tpm;
    sluice_limit zone=bpm limit=2 weight=$arg_bpm;
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /par {
        sluice_limit_conn zone=par limit=$no;
        sluice_limit zone=tpm limit=2 weight=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /then {
        sluice_limit zone=tpm limit=$no;
        error_page 429 = @par;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location @par {
        sluice_limit_conn zone=par limit=$no;
        proxy_pass http://127.0.0.1:1;
    }
--- request eval
["GET /t?rpm=3&tpm=1&bpm=1", "GET /t?rpm=1&tpm=3&bpm=1",
 "GET /t?rpm=1&tpm=1&bpm=3", "GET /par", "GET /then"]
--- error_code eval
[429, 429, 429, 429, 429]
--- response_body_like eval
['"type":"requests","param":null,"code":"rate_limit_exceeded"',
 '"type":"tokens","param":null,"code":"rate_limit_exceeded"',
 '"type":"requests","param":null,"code":"rate_limit_exceeded"',
 '"type":"requests","param":null,"code":"rate_limit_exceeded"',
 '"type":"requests","param":null,"code":"rate_limit_exceeded"']
