# Why it exists: mistakes in sluice_dir must end the start with a line that an
# operator understands; where a directory is needed and none is set, too.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 14;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('must_die', 1);
});

run_tests();

__DATA__

=== TEST 1: twice
--- http_config
    sluice_dir /nonexistent/a;
    sluice_dir /nonexistent/b;
--- error_log eval
qr/\[emerg\] .*"sluice_dir" directive is duplicate in /



=== TEST 2: empty
--- http_config
    sluice_dir "";
--- error_log eval
qr/\[emerg\] .*empty path in /



=== TEST 3: an unknown parameter
--- http_config
    sluice_dir /nonexistent/a groups=x;
--- error_log eval
qr/\[emerg\] .*invalid parameter "groups=x" in /



=== TEST 4: a group without a name
--- http_config
    sluice_dir /nonexistent/a group=;
--- error_log eval
qr/\[emerg\] .*invalid parameter "group=" in /



=== TEST 5: a group that the system does not have
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp group=no-such-group;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- error_log eval
qr/\[emerg\] .*getgrnam\("no-such-group"\) failed/



=== TEST 6: not set, but needed for usage
--- config
    sluice_usage on;
--- error_log eval
qr/\[emerg\] .*"sluice_dir" is not set, but there are limits, keys, proxies, clients or usage/



=== TEST 7: not set, but needed for a zone
--- http_config
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- error_log eval
qr/\[emerg\] .*"sluice_dir" is not set, but there are limits, keys, proxies, clients or usage/
