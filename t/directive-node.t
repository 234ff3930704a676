# Why it exists: sluice_node names this machine in every record; a name that
# a lane has no room for is refused, the host's is taken where none is set.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 10;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
});

run_tests();

__DATA__

=== TEST 1: empty
--- http_config
    sluice_node "";
--- must_die: 1
--- error_log eval
qr/\[emerg\] .*a node's name must have 1 to 63 bytes in /



=== TEST 2: too long
--- http_config eval
'sluice_node ' . 'n' x 64 . ';'
--- must_die: 1
--- error_log eval
qr/\[emerg\] .*a node's name must have 1 to 63 bytes in /



=== TEST 3: twice
--- http_config
    sluice_node a;
    sluice_node b;
--- must_die: 1
--- error_log eval
qr/\[emerg\] .*"sluice_node" directive is duplicate in /



=== TEST 4: as long as may be
--- http_config eval
'sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp; sluice_node '
. 'n' x 63 . ';'
--- config
    sluice_usage on;
--- request
GET /
--- x_records eval
'status=200 node=' . 'n' x 63



=== TEST 5: none: the host's
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
--- config
    sluice_usage on;
--- request
GET /
--- x_records eval
use Sys::Hostname;
'status=200 node=' . lc hostname()
