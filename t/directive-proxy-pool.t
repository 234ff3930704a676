# Why it exists: mistakes in a proxy pool must end the start with a line that an
# operator understands, and that does not have the password in it.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 170;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('must_die', 1) if !defined $block->request;
    $block->set_value('no_error_log', 'secret');

    # one URL that is none
    $block->set_value('http_config',
        'sluice_proxy_pool p { proxy ' . $block->x_url . ' id=a; }')
        if defined $block->x_url;
});

run_tests();

__DATA__

=== TEST 1: no proxies
--- http_config
    sluice_proxy_pool p { balance round_robin; }
--- error_log eval
qr/\[emerg\] .*proxy pool "p" has no proxies in /



=== TEST 2: two pools of one name
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; }
    sluice_proxy_pool p { proxy http://10.0.0.2:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*duplicate proxy pool "p": it is in .*nginx\.conf:\d+ in /



=== TEST 3: a name that no file may have
--- http_config
    sluice_proxy_pool a/b { proxy http://10.0.0.1:3128 id=a; }
--- error_log eval
qr{\[emerg\] .*invalid proxy pool "a/b": it must have 1 to 47 letters, digits, "_" or "-" in }



=== TEST 4: a proxy without an id
--- http_config
    sluice_proxy_pool p { proxy http://u:secret@10.0.0.1:3128; }
--- error_log eval
qr/\[emerg\] .*a proxy must be "proxy URL id=NAME" in /



=== TEST 5: something else for an id
--- http_config
    sluice_proxy_pool p { proxy http://u:secret@10.0.0.1:3128 name=a; }
--- error_log eval
qr/\[emerg\] .*invalid parameter 2 of a proxy: it knows "id=", "weight=", "max_conns=", "max_fails=", "fail_timeout=" and "backup" in /



=== TEST 6: an empty id
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=; }
--- error_log eval
qr/\[emerg\] .*invalid proxy id "": it must have 1 to 47 letters, digits, "_" or "-" in /



=== TEST 7: one id twice
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; proxy http://10.0.0.2:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*duplicate proxy id "a" in pool "p" in /



=== TEST 8: what a record would say of a request that had none
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=direct; }
--- error_log eval
qr/\[emerg\] .*a proxy cannot have the id "direct": records say so of what went without one in /



=== TEST 9: backups only
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a backup; proxy http://10.0.0.2:3128 id=b backup; }
--- error_log eval
qr/\[emerg\] .*proxy pool "p" has backup proxies only in /



=== TEST 10: a weight that is none
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a weight=0; }
--- error_log eval
qr/\[emerg\] .*invalid "weight=0": a weight is 1 to 1000 in /



=== TEST 11: too much of one
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a weight=1001; }
--- error_log eval
qr/\[emerg\] .*invalid "weight=1001": a weight is 1 to 1000 in /



=== TEST 12: no place
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a max_conns=0; }
--- error_log eval
qr/\[emerg\] .*invalid "max_conns=0": 1 to 65535 requests can be in flight in /



=== TEST 13: failures below none
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a max_fails=-1; }
--- error_log eval
qr/\[emerg\] .*invalid "max_fails=-1": it must be 0 to 65535 in /



=== TEST 14: a rest that is none
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a fail_timeout=soon; }
--- error_log eval
qr/\[emerg\] .*invalid "fail_timeout=soon": it must be a time of up to 31d in /



=== TEST 15: a rest of months
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a fail_timeout=32d; }
--- error_log eval
qr/\[emerg\] .*invalid "fail_timeout=32d": it must be a time of up to 31d in /



=== TEST 16: a balance that it does not have
--- http_config
    sluice_proxy_pool p { balance fair; proxy http://10.0.0.1:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*a proxy pool's balance is "round_robin", "least_used", "random" or "hash \$variable" in /



=== TEST 17: a hash of nothing
--- http_config
    sluice_proxy_pool p { balance hash; proxy http://10.0.0.1:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*a proxy pool's balance is "round_robin", "least_used", "random" or "hash \$variable" in /



=== TEST 18: a hash of an unknown variable
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_proxy_pool p { balance hash $no_such; proxy http://10.0.0.1:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*unknown "no_such" variable/



=== TEST 19: an unknown directive, which may be a part of a URL
--- http_config
    sluice_proxy_pool p { http://u:secret@10.0.0.1:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*unknown directive in a proxy pool: it knows "proxy", "balance" and "probe" in /



=== TEST 20: a line that says nothing
--- http_config
    sluice_proxy_pool p { proxy; }
--- error_log eval
qr/\[emerg\] .*"proxy" says nothing in proxy pool "p" in /



=== TEST 21: a line twice
--- http_config
    sluice_proxy_pool p { balance random; balance random; proxy http://10.0.0.1:3128 id=a; }
--- error_log eval
qr/\[emerg\] .*"balance" is duplicate in proxy pool "p" in /



=== TEST 22: too many proxies
--- http_config eval
"sluice_proxy_pool p {" . CORE::join('', map { "proxy http://10.0.0.1:$_ id=k$_;\n" } 1 .. 257)
. "}"
--- error_log eval
qr/\[emerg\] .*proxy pool "p" has more than 256 proxies in /



=== TEST 23: no scheme
--- x_url: 10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a proxy begins with "http://" or "socks5://" in }



=== TEST 24: an unknown one
--- x_url: ftp://10.0.0.1:21
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a proxy begins with "http://" or "socks5://" in }



=== TEST 25: TLS to the proxy
--- x_url: https://u:secret@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": "https://" is not supported: there is no TLS to the proxy itself}



=== TEST 26: an older SOCKS
--- x_url: socks4://10.0.0.1:1080
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": "socks4://" is not supported: write "socks5://"}



=== TEST 27: what curl knows
--- x_url: socks5h://10.0.0.1:1080
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": write "socks5://" instead of "socks5h://"}



=== TEST 28: no port
--- x_url: http://u:secret@10.0.0.1
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": the port is missing: a proxy has none by default in }



=== TEST 29: an empty one
--- x_url: http://10.0.0.1:
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": the port is missing}



=== TEST 30: port 0
--- x_url: http://10.0.0.1:0
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a port is a number from 1 to 65535 in }



=== TEST 31: a port too far
--- x_url: http://10.0.0.1:65536
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a port is a number from 1 to 65535 in }



=== TEST 32: no host
--- x_url: http://:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": the host is missing in }



=== TEST 33: an IPv6 address without brackets
--- x_url: http://::1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": .*an IPv6 address needs brackets}



=== TEST 34: brackets around something else
--- x_url: http://[10.0.0.1]:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": what is in brackets is no IPv6 address in }



=== TEST 35: a path
--- x_url: http://10.0.0.1:3128/path
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a proxy has no path}



=== TEST 36: a percent sign without its digits
--- x_url: http://u:secret%4@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a "%" in a user or a password is followed by two hex digits}



=== TEST 37: with others
--- x_url: http://u%zz:secret@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a "%" in a user or a password is followed by two hex digits}



=== TEST 38: an "@" as it is
--- x_url: http://u:secret@ss@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": an "\@" of a user or a password must be percent-encoded: %40 in }



=== TEST 39: a slash as it is
--- x_url: http://u:secret/ss@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": .*must be percent-encoded: %2F}



=== TEST 40: a colon as it is
--- x_url: http://u:secret:ss@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a ":" of a user or a password must be percent-encoded: %3A in }



=== TEST 41: a colon that Basic cannot carry
--- x_url: http://u%3Av:secret@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a user of an HTTP proxy can have no ":" in }



=== TEST 42: a line's end in a password
--- x_url: http://u:secret%0d%0aX:@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": .*(control characters|percent-encoded)}



=== TEST 43: a NUL in one
--- x_url: socks5://u:secret%00@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a user and a password have no control characters in }



=== TEST 44: a user without a password
--- x_url: http://secret@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a user needs a password: "user:password\@" in }



=== TEST 45: an empty password, which SOCKS5 has not
--- x_url: socks5://secret:@10.0.0.1:3128
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a user and a password for SOCKS5 cannot be empty in }



=== TEST 46: a user of 256 bytes
--- x_url eval
'http://' . 'u' x 256 . ':secret@10.0.0.1:3128'
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a user and a password have 255 bytes each at most in }



=== TEST 47: a password of 256
--- x_url eval
'socks5://u:' . 'p' x 256 . '@10.0.0.1:3128'
--- error_log eval
qr{\[emerg\] .*invalid URL of proxy "a": a user and a password have 255 bytes each at most in }



=== TEST 48: a name that nobody knows
--- x_url: http://u:secret@no-such-proxy.invalid:3128
--- error_log eval
qr{\[emerg\] .*host not found of proxy "a" \("http://no-such-proxy\.invalid:3128"\) in }



=== TEST 49: a probe of nothing
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; probe api.test; }
--- error_log eval
qr{\[emerg\] .*invalid "api\.test": it must be a host and a port, as in "api\.example\.com:443" in }



=== TEST 50: too often
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; probe api.test:443 interval=10ms; }
--- error_log eval
qr{\[emerg\] .*proxies cannot be probed more than once a second in }



=== TEST 51: too patient
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; probe api.test:443 timeout=never; }
--- error_log eval
qr{\[emerg\] .*invalid "timeout=never": it must be a time of up to 31d in }



=== TEST 52: two probes
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; probe api.test:443; probe api.test:80; }
--- error_log eval
qr{\[emerg\] .*"probe" is duplicate in proxy pool "p" in }



=== TEST 53: something behind a probe
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; probe api.test:443 often; }
--- error_log eval
qr{\[emerg\] .*invalid parameter "often" in }



=== TEST 54: proxies without a place for what is known of them
--- http_config
    sluice_proxy_pool p { proxy http://10.0.0.1:3128 id=a; }
--- error_log eval
qr{\[emerg\] .*sluice_dir}



=== TEST 55: all that a line can have
--- http_config eval
'
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_proxy_pool p {
        proxy   HTTP://u:p%40%3a%2F%25secret@10.0.0.1:3128 id=a weight=1000 max_conns=65535;
        proxy   http://u:@10.0.0.1:3128/ id=b max_fails=0 fail_timeout=31d;
        proxy   socks5://[::1]:1080 id=c backup;
        proxy   http://10.0.0.1:65535 id=d max_fails=65535 fail_timeout=1ms;
        proxy   http://' . 'u' x 255 . ':' . '%20' x 255 . '@localhost:1 id=e;
        balance hash $arg_a;
    }
'
--- request
GET /
--- error_log eval
[]



=== TEST 56: two ids, of which one would be forgotten
--- http_config
    sluice_proxy_pool p { proxy http://u:secret@10.0.0.1:3128 id=a id=b; }
--- error_log eval
qr{\[emerg\] .*a proxy has one "id=", not two in }



=== TEST 57: a hash of what is empty
--- http_config
    sluice_proxy_pool p { proxy http://u:secret@10.0.0.1:3128 id=a; balance hash "$sluice_key_id $sluice_key"; }
--- error_log eval
qr{\[emerg\] .*\$sluice_key is empty when a member of a proxy pool is chosen in }
