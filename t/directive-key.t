# Why it exists: mistakes in sluice_key must end the start with a line that an
# operator understands; a location never goes out without a key silently.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 6;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1);
    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key sk-1 id=a; }
    ');
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
