# Why it exists: mistakes in sluice_ring must end the start with a line that
# an operator understands.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 18;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '');
    $block->set_value('must_die', 1);
});

run_tests();

__DATA__

=== TEST 1: too small
--- http_config
    sluice_ring 63k;
--- error_log eval
qr/\[emerg\] .*ring of "63k" is too small: it must have 64k to 1024m in /



=== TEST 2: too large
--- http_config
    sluice_ring 1025m;
--- error_log eval
qr/\[emerg\] .*ring of "1025m" is too large: it must have 64k to 1024m in /



=== TEST 3: no size
--- http_config
    sluice_ring on_full=drop;
--- error_log eval
qr/\[emerg\] .*invalid size "on_full=drop" in /



=== TEST 4: no answer to its being full
--- http_config
    sluice_ring 1m on_full=wait;
--- error_log eval
qr/\[emerg\] .*invalid parameter "on_full=wait" in /



=== TEST 5: nobody may be open
--- http_config
    sluice_ring 1m open=0;
--- error_log eval
qr/\[emerg\] .*invalid "open=0": 1 to 65536 requests can be open in /



=== TEST 6: too many may be
--- http_config
    sluice_ring 1m open=65537;
--- error_log eval
qr/\[emerg\] .*invalid "open=65537": 1 to 65536 requests can be open in /



=== TEST 7: not a number
--- http_config
    sluice_ring 1m open=many;
--- error_log eval
qr/\[emerg\] .*invalid "open=many"/



=== TEST 8: twice
--- http_config
    sluice_ring 1m;
    sluice_ring 2m;
--- error_log eval
qr/\[emerg\] .*"sluice_ring" directive is duplicate in /



=== TEST 9: an overflow
--- http_config
    sluice_ring 99999999999999999999m;
--- error_log eval
qr/\[emerg\] .*invalid size "99999999999999999999m" in /
