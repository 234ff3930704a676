# Why it exists: mistakes in sluice_key must end the start with a line that an
# operator understands; a location never goes out without a key silently.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 54;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1) if !defined $block->request;
    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key sk-1 id=a; }
        ' . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: an unknown pool
--- config
    location = /t {
        sluice_key q;
    }
--- error_log eval
qr/\[emerg\] .*unknown key pool "q" in .*nginx\.conf:\d+: no "sluice_key_pool" defines it/



=== TEST 2: twice
--- config
    sluice_key p;
    sluice_key off;
--- error_log eval
qr/\[emerg\] .*"sluice_key" directive is duplicate in /



=== TEST 3: a name that no pool may have
--- config
    sluice_key $pool;
--- error_log eval
qr/\[emerg\] .*invalid pool "\$pool": it must have 1 to 47 letters/



=== TEST 4: a wait that is none
--- config
    sluice_key p wait=long;
--- error_log eval
qr{\[emerg\] .*invalid "wait=long": it must be a time of up to 31d in }



=== TEST 5: a wait of nothing
--- config
    sluice_key p wait=0;
--- error_log eval
qr{\[emerg\] .*invalid "wait=0": it must be a time of up to 31d in }



=== TEST 6: a wait of months
--- config
    sluice_key p wait=40d;
--- error_log eval
qr{\[emerg\] .*invalid "wait=40d": it must be a time of up to 31d in }



=== TEST 7: an empty estimate
--- config
    sluice_key p tokens=;
--- error_log eval
qr{\[emerg\] .*invalid parameter "tokens=" in }



=== TEST 8: two estimates
--- config
    sluice_key p tokens=1 tokens=2;
--- error_log eval
qr{\[emerg\] .*invalid parameter "tokens=2" in }



=== TEST 9: a settling without an estimate
--- config
    sluice_key p settle=$arg_a;
--- error_log eval
qr{\[emerg\] .*"settle=" needs "tokens=": the estimate that it replaces in }



=== TEST 10: something else
--- config
    sluice_key p burst=5;
--- error_log eval
qr{\[emerg\] .*invalid parameter "burst=5" in }



=== TEST 11: off, and something behind it
--- config
    sluice_key off wait=1s;
--- error_log eval
qr{\[emerg\] .*(invalid parameter "wait=1s"|unknown key pool "off") in }



=== TEST 12: a variable that there is none
--- config
    sluice_key p tokens=$nothing;
--- error_log eval
qr{\[emerg\] .*unknown "nothing" variable}



=== TEST 13: in an if
--- config
    if ($arg_a) {
        sluice_key p;
    }
--- error_log eval
qr{\[emerg\] .*"sluice_key" directive is not allowed here in }



=== TEST 14: next: a status that it does not know
--- config
    sluice_key_next http_418;
--- error_log eval
qr{\[emerg\] .*invalid value "http_418" in }



=== TEST 15: next: a value twice
--- config
    sluice_key_next http_401 http_401;
--- request
GET /
--- error_log eval
qr{\[warn\] .*duplicate value "http_401" in }



=== TEST 16: next: nothing
--- config
    sluice_key_next;
--- error_log eval
qr{\[emerg\] .*invalid number of arguments in "sluice_key_next" directive in }



=== TEST 17: tries: none
--- config
    sluice_key_tries 0;
--- error_log eval
qr{\[emerg\] .*value must be between 1 and 256 in }



=== TEST 18: tries: more than keys can be
--- config
    sluice_key_tries 257;
--- error_log eval
qr{\[emerg\] .*value must be between 1 and 256 in }



=== TEST 19: tries: no number
--- config
    sluice_key_tries many;
--- error_log eval
qr{\[emerg\] .*invalid number in }



=== TEST 20: timeout: no time
--- config
    sluice_key_timeout soon;
--- error_log eval
qr{\[emerg\] .*"sluice_key_timeout" directive invalid value in }



=== TEST 21: a pool in a server
--- config
    sluice_key_pool q { key sk-2 id=a; }
--- error_log eval
qr{\[emerg\] .*"sluice_key_pool" directive is not allowed here in }



=== TEST 22: the master key in a server
--- config
    sluice_master_key key;
--- error_log eval
qr{\[emerg\] .*"sluice_master_key" directive is not allowed here in }



=== TEST 23: two master keys
--- http_config
    sluice_master_key one;
    sluice_master_key two;
--- error_log eval
qr{\[emerg\] .*"sluice_master_key" directive is duplicate in }



=== TEST 24: a master key without a name
--- http_config
    sluice_master_key "";
--- error_log eval
qr{\[emerg\] .*empty path in }



=== TEST 25: all of them, wherever they may stand
--- http_config
    sluice_master_key nobody/asks/for/it;
    sluice_key p wait=1s tokens=100 settle=$upstream_http_x_used;
    sluice_key_next http_401 http_402 http_403 http_429 http_500 http_502 http_503 http_504 http_529 non_idempotent;
    sluice_key_tries 256;
    sluice_key_timeout 10s;
--- config
    sluice_key p tokens=$arg_n;
    sluice_key_next off;
    sluice_key_tries 1;
    sluice_key_timeout 0;
    location = /t {
        sluice_key off;
        sluice_key_next http_429;
        sluice_key_tries 2;
        sluice_key_timeout 1m;
        return 200;
    }
--- request
GET /t
--- no_error_log
[emerg]



=== TEST 26: a 403 that never counts: one try
--- http_config
    sluice_key_pool q { key sk-1 id=a; key sk-2 id=b; disable 401 403; }
--- config
    sluice_key q;
    sluice_key_tries 1;
    proxy_set_header Authorization $sluice_key;
    location = /t {
        return 200;
    }
    location = /asks {
        proxy_pass http://127.0.0.1:1;
    }
--- request
GET /t
--- x_log
1: ~\[warn\] .*"disable" of key pool "q" has 403, which counts only if another key is let through with the same request, and in location "/asks" none is tried after it: "sluice_key_tries"
1: "disable" of



=== TEST 27: none after it; of what nobody has written nothing is said
--- http_config
    sluice_key_pool q { key sk-1 id=a; key sk-2 id=b; disable 401 403; }
    sluice_key_pool unwritten { key sk-1 id=a; key sk-2 id=b; }
    sluice_key_pool without { key sk-1 id=a; key sk-2 id=b; disable 401; }
--- config
    sluice_key q;
    proxy_set_header Authorization $sluice_key;
    location = /t {
        return 200;
    }
    location = /next {
        sluice_key_next http_401 http_429;
        proxy_pass http://127.0.0.1:1;
    }
    location = /off {
        sluice_key_next off;
        proxy_pass http://127.0.0.1:1;
    }
    location = /two {
        sluice_key_tries 2;
        proxy_pass http://127.0.0.1:1;
    }
    location = /unwritten {
        sluice_key unwritten;
        sluice_key_tries 1;
        proxy_pass http://127.0.0.1:1;
    }
    location = /without {
        sluice_key without;
        sluice_key_tries 1;
        proxy_pass http://127.0.0.1:1;
    }
--- request
GET /t
--- x_log
1: and in location "/next" none is tried after it: "sluice_key_next"
1: and in location "/off" none is tried after it: "sluice_key_next"
2: "disable" of
