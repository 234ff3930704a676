# Why it exists: the secret that clients are hashed with comes from a file;
# one that is missing, empty, short or unfit must end the start, and one that
# everybody may read is worth a warning.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 26;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
});

run_tests();

__DATA__

=== TEST 1: a missing file
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/none;
--- must_die: 1
--- error_log eval
qr{\[emerg\] .*open\(\) ".*/html/none" failed \(2: No such file or directory\) in }



=== TEST 2: an empty file
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "\n"]]
--- must_die: 1
--- error_log eval
qr{\[emerg\] .*there is no secret in .*/html/secret in }



=== TEST 3: fifteen bytes
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "123456789012345\n"]]
--- must_die: 1
--- error_log eval
qr{\[emerg\] .*the client secret has 15 bytes, 16 are the least in }



=== TEST 4: too long
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", 's' x 4097]]
--- must_die: 1
--- error_log eval
qr{\[emerg\] .*the secret in .*/html/secret is too long in }



=== TEST 5: two lines
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "1234567890123456\nmore\n"]]
--- must_die: 1
--- error_log eval
qr{\[emerg\] .*the secret in .* has a control character at byte 17: a header cannot carry it in }
--- no_error_log
1234567890123456



=== TEST 6: a folder
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html;
--- must_die: 1
--- error_log eval
qr{\[emerg\] .*/html" is not a regular file in }



=== TEST 7: twice
--- http_config
    sluice_client_secret 1234567890123456;
    sluice_client_secret 1234567890123457;
--- must_die: 1
--- error_log eval
qr/\[emerg\] .*"sluice_client_secret" directive is duplicate in /



=== TEST 8: everybody may read it
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "1234567890123456\n"]]
--- post_setup_server_root
umask 022;
--- request
GET /
--- error_log eval
qr{\[warn\] .*/html/secret" holds a secret that others may read or change in }
--- no_error_log
[error]



=== TEST 9: only we may
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "1234567890123456\n"]]
--- post_setup_server_root
umask 077;
--- request
GET /
--- no_error_log
[warn]



=== TEST 10: its group may change it
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "1234567890123456\n"]]
--- post_setup_server_root
umask 0006;
--- request
GET /
--- error_log eval
qr{\[warn\] .*/html/secret" holds a secret that others may read or change in }
--- no_error_log
[error]



=== TEST 11: others may change it
--- http_config
    sluice_client_secret file:$TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
[["secret", "1234567890123456\n"]]
--- post_setup_server_root
umask 0064;
--- request
GET /
--- error_log eval
qr{\[warn\] .*/html/secret" holds a secret that others may read or change in }
--- no_error_log
[error]
