# Why it exists: mistakes in a key pool must end the start with a line that an
# operator understands, and that does not have the key in it.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 54;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('must_die', 1) if !defined $block->request;
    $block->set_value('no_error_log', 'sk-secret');
});

run_tests();

__DATA__

=== TEST 1: no keys
--- http_config
    sluice_key_pool p { balance round_robin; }
--- error_log eval
qr/\[emerg\] .*key pool "p" has no keys in /



=== TEST 2: two pools of one name
--- http_config
    sluice_key_pool p { key sk-secret1 id=a; }
    sluice_key_pool p { key sk-secret2 id=b; }
--- error_log eval
qr/\[emerg\] .*duplicate key pool "p": it is in .*nginx\.conf:\d+ in /



=== TEST 3: a name that no file may have
--- http_config
    sluice_key_pool a/b { key sk-secret id=a; }
--- error_log eval
qr{\[emerg\] .*invalid pool "a/b": it must have 1 to 47 letters, digits, "_" or "-" in }



=== TEST 4: a key without an id
--- http_config
    sluice_key_pool p { key sk-secret; }
--- error_log eval
qr/\[emerg\] .*a key must be "key SECRET id=NAME", "key file:PATH id=NAME" or "key sealed:PATH id=NAME" in /



=== TEST 5: something else for an id
--- http_config
    sluice_key_pool p { key sk-secret name=a; }
--- error_log eval
qr/\[emerg\] .*invalid parameter 2 of a key: it knows "id=", "weight=", "max_conns=", "limit=", "tokens=" and "backup" in /



=== TEST 6: an empty id
--- http_config
    sluice_key_pool p { key sk-secret id=; }
--- error_log eval
qr/\[emerg\] .*invalid key id "": it must have 1 to 47 letters, digits, "_" or "-" in /



=== TEST 7: one id twice
--- http_config
    sluice_key_pool p { key sk-secret1 id=a; key sk-secret2 id=a; }
--- error_log eval
qr/\[emerg\] .*duplicate key id "a" in pool "p" in /



=== TEST 8: an empty key
--- http_config
    sluice_key_pool p { key "" id=a; }
--- error_log eval
qr/\[emerg\] .*there is no secret in the configuration in /



=== TEST 9: a key that would end its header
--- http_config
    sluice_key_pool p { key "sk-secret\r\nX-Evil: 1" id=a; }
--- error_log eval
qr/\[emerg\] .*the secret in the configuration has a control character at byte 10: a header cannot carry it in /



=== TEST 10: a missing file
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/none id=a; }
--- error_log eval
qr{\[emerg\] .*open\(\) ".*/html/none" failed \(2: No such file or directory\) in }



=== TEST 11: an empty file
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", ""]]
--- error_log eval
qr{\[emerg\] .*there is no secret in .*/html/key in }



=== TEST 12: a file of two lines
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", "sk-secret\nsk-secret2\n"]]
--- error_log eval
qr{\[emerg\] .*the secret in .*/html/key has a control character at byte 10}



=== TEST 13: a fifo must not stop the start
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- post_setup_server_root
use POSIX ();
POSIX::mkfifo("$ServRoot/html/key", 0600) or die "mkfifo: $!";
--- error_log eval
qr{\[emerg\] .*/html/key" is not a regular file in }



=== TEST 14: a file that everybody may read
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", "sk-secret\n"]]
--- request
GET /
--- error_log eval
qr{\[warn\] .*/html/key" holds a secret and may be read by everybody in }



=== TEST 15: a balance that it does not have
--- http_config
    sluice_key_pool p { balance fair; key sk-secret id=a; }
--- error_log eval
qr/\[emerg\] .*a key pool's balance is "round_robin", "least_used", "random" or "hash \$variable" in /



=== TEST 16: an unknown directive
--- http_config
    sluice_key_pool p { kez sk-secret id=a; }
--- error_log eval
qr/\[emerg\] .*unknown directive in a key pool: it knows "key", "keys", "balance", "cooldown", "disable", "exhaust" and "breaker" in /



=== TEST 17: too many keys
--- http_config eval
"sluice_key_pool p {" . CORE::join('', map { "key sk-secret$_ id=k$_;\n" } 1 .. 257)
. "}"
--- error_log eval
qr/\[emerg\] .*key pool "p" has more than 256 keys in /



=== TEST 18: the word before the key is missing
--- http_config
    sluice_key_pool p { sk-secret id=a; }
--- error_log eval
qr/\[emerg\] .*unknown directive in a key pool: it knows "key", "keys", "balance", "cooldown", "disable", "exhaust" and "breaker" in /
