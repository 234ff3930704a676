# Why it exists: mistakes in sluice_limit_zone must end the start with a line
# that an operator understands.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 67;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('must_die', 1) if !defined $block->must_die;
});

run_tests();

__DATA__

=== TEST 1: too small
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:4095 window=1m;
--- error_log eval
qr/\[emerg\] .*zone "zone=rpm:4095" is too small: it must have 4k to 32768m in /



=== TEST 2: too large
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:32769m window=1m;
--- error_log eval
qr/\[emerg\] .*zone "zone=rpm:32769m" is too large: it must have 4k to 32768m in /



=== TEST 3: no size
--- http_config
    sluice_limit_zone $remote_addr zone=rpm window=1m;
--- error_log eval
qr/\[emerg\] .*invalid zone size "zone=rpm" in /



=== TEST 4: not a size
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:1mm window=1m;
--- error_log eval
qr/\[emerg\] .*invalid zone size "zone=rpm:1mm" in /



=== TEST 5: a name that no file may have
--- http_config
    sluice_limit_zone $remote_addr zone=../rpm:1m window=1m;
--- error_log eval
qr{\[emerg\] .*invalid zone "\.\./rpm": it must have 1 to 47 letters, digits, "_" or "-" in }



=== TEST 6: no name
--- http_config
    sluice_limit_zone $remote_addr zone=:1m window=1m;
--- error_log eval
qr/\[emerg\] .*invalid zone "": it must have 1 to 47 letters, digits, "_" or "-" in /



=== TEST 7: no zone
--- http_config
    sluice_limit_zone $remote_addr window=1m window=1m;
--- error_log eval
qr/\[emerg\] .*"sluice_limit_zone" must have "zone" parameter in /



=== TEST 8: no window
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:1m zone=rpm:1m;
--- error_log eval
qr/\[emerg\] .*"sluice_limit_zone" must have "window" parameter in /



=== TEST 9: a window that is too short
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:1m window=999ms;
--- error_log eval
qr/\[emerg\] .*invalid window "window=999ms": it must have 1s to 31d in /



=== TEST 10: a window that is too long
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:1m window=32d;
--- error_log eval
qr/\[emerg\] .*invalid window "window=32d": it must have 1s to 31d in /



=== TEST 11: two zones of one name
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:1m window=1m;
    sluice_limit_zone $http_a zone=rpm:2m window=1m;
--- error_log eval
qr/\[emerg\] .*duplicate zone "rpm": it is in .*nginx\.conf:\d+ in /



=== TEST 12: an unknown parameter
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:1m rate=1m;
--- error_log eval
qr/\[emerg\] .*invalid parameter "rate=1m" in /



=== TEST 13: a key that is empty whenever it is asked for
--- http_config
    sluice_limit_zone ${sluice_key_id} zone=k:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "k" never matches/



=== TEST 14: an unknown unit
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m unit=request;
--- error_log eval
qr/\[emerg\] .*invalid "unit=request": it must be "requests", "tokens" or "bytes" in /



=== TEST 15: an empty unit
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m unit=;
--- error_log eval
qr/\[emerg\] .*invalid "unit=": it must be "requests", "tokens" or "bytes" in /



=== TEST 16: a scale of 0
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m scale=0;
--- error_log eval
qr/\[emerg\] .*invalid "scale=0": it must be 1 to 1000000000 in /



=== TEST 17: a scale that is too large
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m scale=1000000001;
--- error_log eval
qr/\[emerg\] .*invalid "scale=1000000001": it must be 1 to 1000000000 in /



=== TEST 18: a scale that is not a number
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m scale=1k;
--- error_log eval
qr/\[emerg\] .*invalid "scale=1k": it must be 1 to 1000000000 in /



=== TEST 19: a negative scale
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m scale=-1;
--- error_log eval
qr/\[emerg\] .*invalid "scale=-1": it must be 1 to 1000000000 in /



=== TEST 20: a variable
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m scale=$arg_n;
--- error_log eval
qr/\[emerg\] .*invalid "scale=\$arg_n": it must be 1 to 1000000000 in /



=== TEST 21: a limit's parameter
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1m limit=1;
--- error_log eval
qr/\[emerg\] .*invalid parameter "limit=1" in /



=== TEST 22: the verdict as a key
--- http_config
    sluice_limit_zone $sluice_limit_status zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$sluice_limit_status" is empty when a request is admitted in /



=== TEST 23: a key of what is not known yet: sluice_proxy_id
--- http_config
    sluice_limit_zone $sluice_proxy_id zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$sluice_proxy_id" is empty when a request is admitted in /



=== TEST 24: a key of what is not known yet: sluice_proxy_result
--- http_config
    sluice_limit_zone ${sluice_proxy_result} zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$\{sluice_proxy_result\}" is empty when a request is admitted in /



=== TEST 25: a key of what is not known yet: sluice_proxy_tries, however it is written
--- http_config
    sluice_limit_zone $Sluice_PROXY_tries zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$Sluice_PROXY_tries" is empty when a request is admitted in /



=== TEST 26: a key of what is not known yet: sluice_proxy_time
--- http_config
    sluice_limit_zone $sluice_proxy_time zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$sluice_proxy_time" is empty when a request is admitted in /



=== TEST 27: a key of what is not known yet: sluice_tries
--- http_config
    sluice_limit_zone $sluice_tries zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$sluice_tries" is empty when a request is admitted in /



=== TEST 28: a key of what is not known yet: sent_trailer_x_used
--- http_config
    sluice_limit_zone $sent_trailer_x_used zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$sent_trailer_x_used" is empty when a request is admitted in /



=== TEST 29: a key of what is not known yet: request_completion
--- http_config
    sluice_limit_zone $request_completion zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$request_completion" is empty when a request is admitted in /



=== TEST 30: a key of what is not known yet: bytes_sent
--- http_config
    sluice_limit_zone $bytes_sent zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$bytes_sent" is empty when a request is admitted in /



=== TEST 31: a key of what is not known yet: body_bytes_sent
--- http_config
    sluice_limit_zone $remote_addr$body_bytes_sent zone=never:64k window=1m;
--- error_log eval
qr/\[emerg\] .*zone "never" never matches: its key "\$remote_addr\$body_bytes_sent" is empty when a request is admitted in /



=== TEST 32: a longer name, which is another variable
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    map $remote_addr $bytes_sent_to { default 1; }
    sluice_limit_zone $bytes_sent_to zone=other:64k window=1m;
--- config
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- must_die: 0
--- request
GET /t
--- no_error_log
[emerg]
is empty when



=== TEST 33: the body, which another module may have read, is warned of
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $request_body zone=body:64k window=1m;
    sluice_limit_zone $request_body_file zone=file:64k window=1m;
    sluice_limit_conn_zone ${request_body} zone=conns:64k;
--- config
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- must_die: 0
--- request
GET /t
--- x_log
1: ~\[warn\] .*"\$request_body" in "\$request_body" is empty when a request is admitted, unless another module has read the body in 
1: "$request_body_file" in "$request_body_file" is empty when
1: "$request_body" in "${request_body}" is empty when
3: is empty when a request is admitted
