# Why it exists: mistakes in sluice_limit must end the start with a line that
# an operator understands; never a limit that silently is none.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 22;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1);
    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    ');
});

run_tests();

__DATA__

=== TEST 1: an unknown zone
--- config
    location = /t {
        sluice_limit zone=rps limit=1;
    }
--- error_log eval
qr/\[emerg\] .*unknown zone "rps" in .*nginx\.conf:\d+: no "sluice_limit_zone" defines it/



=== TEST 2: 0
--- config
    sluice_limit zone=rpm limit=0;
--- error_log eval
qr/\[emerg\] .*invalid "limit=0": it must be a number from 1, or a variable in /



=== TEST 3: not a number
--- config
    sluice_limit zone=rpm limit=60r/m;
--- error_log eval
qr{\[emerg\] .*invalid "limit=60r/m": it must be a number from 1, or a variable in }



=== TEST 4: nothing
--- config
    sluice_limit zone=rpm limit=;
--- error_log eval
qr/\[emerg\] .*invalid "limit=": it must be/



=== TEST 5: more than the zone's units can count, and the scale that would do
--- config
    location = /t {
        sluice_limit zone=rpm limit=8388609;
    }
--- error_log eval
qr/\[emerg\] .*limit 8388609 in location "\/t" is more than zone "rpm" can count: it needs scale=2/



=== TEST 6: no zone
--- config
    sluice_limit limit=1 limit=2;
--- error_log eval
qr/\[emerg\] .*"sluice_limit" must have "zone" parameter in /



=== TEST 7: no limit
--- config
    sluice_limit zone=rpm zone=rpm;
--- error_log eval
qr/\[emerg\] .*"sluice_limit" must have "limit" parameter in /



=== TEST 8: one zone twice
--- config
    sluice_limit zone=rpm limit=1;
    sluice_limit zone=rpm limit=2;
--- error_log eval
qr/\[emerg\] .*"sluice_limit" directive is duplicate in /



=== TEST 9: an unknown parameter
--- config
    sluice_limit zone=rpm burst=1;
--- error_log eval
qr/\[emerg\] .*invalid parameter "burst=1" in /



=== TEST 10: seventeen on one location
--- http_config eval
CORE::join '', map { "sluice_limit_zone \$remote_addr zone=z$_:4k window=1h;\n" }
             1 .. 17
--- config eval
CORE::join '', map { "sluice_limit zone=z$_ limit=1;\n" } 1 .. 17
--- error_log eval
qr/\[emerg\] .*"sluice_limit" directive has too many limits on one location in /



=== TEST 11: off beside a limit
--- config
    sluice_limit zone=rpm limit=1;
    sluice_limit off;
--- error_log eval
qr/\[emerg\] .*"sluice_limit" directive is set already/
