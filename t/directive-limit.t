# Why it exists: mistakes in sluice_limit must end the start with a line that
# an operator understands; never a limit that silently is none.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 78;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1) if !defined $block->must_die;
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
qr/\[emerg\] .*limit 8388609 in location "\/t" is more than zone "rpm" can count: it needs scale=2, by which each request is charged 2$/



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



=== TEST 12: a limit of 0, which a variable may have
--- config
    sluice_limit zone=rpm limit=0 weight=0;
--- error_log eval
qr/\[emerg\] .*invalid "limit=0": it must be a number from 1, or a variable in /



=== TEST 13: a weight that is not a number
--- config
    sluice_limit zone=rpm limit=1 weight=1k;
--- error_log eval
qr/\[emerg\] .*invalid "weight=1k": it must be a number from 0, or a variable in /



=== TEST 14: an empty weight
--- config
    sluice_limit zone=rpm limit=1 weight=;
--- error_log eval
qr/\[emerg\] .*invalid "weight=": it must be a number from 0, or a variable in /



=== TEST 15: a weight above the limit
--- config
    sluice_limit zone=rpm limit=4 weight=5;
--- error_log eval
qr/\[emerg\] .*limit "rpm" lets nothing through: a request weighs more than it allows in /



=== TEST 16: a weight above the limit, in whole units of the scale
--- http_config
    sluice_limit_zone $remote_addr zone=tens:64k window=1h scale=10;
--- config
    location = /t {
        sluice_limit zone=tens limit=19 weight=11;
    }
--- error_log eval
qr/\[emerg\] .*limit 19 in location "\/t" lets nothing through: a request weighs 2 units of zone "tens", 10 each$/



=== TEST 17: a limit below the scale
--- http_config
    sluice_limit_zone $remote_addr zone=tens:64k window=1h scale=10;
--- config
    location = /t {
        sluice_limit zone=tens limit=9;
    }
--- error_log eval
qr/\[emerg\] .*limit 9 in location "\/t" lets nothing through: zone "tens" counts in units of 10$/



=== TEST 18: more than a scale counts, and the scale that would do
--- http_config
    sluice_limit_zone $remote_addr zone=tens:64k window=1h scale=10;
--- config
    location = /t {
        sluice_limit zone=tens limit=83886090;
    }
--- error_log eval
qr/\[emerg\] .*limit 83886090 in location "\/t" is more than zone "tens" can count: it needs scale=11, by which each request is charged 11$/



=== TEST 19: more than any scale counts
--- config
    location = /t {
        sluice_limit zone=rpm limit=9223372036854775807;
    }
--- error_log eval
qr/\[emerg\] .*limit 9223372036854775807 in location "\/t" is more than any zone can count: 8388608000000000 is the most$/



=== TEST 20: no number at all
--- config
    sluice_limit zone=rpm limit=9223372036854775808;
--- error_log eval
qr/\[emerg\] .*invalid "limit=9223372036854775808": it must be a number from 1, or a variable in /



=== TEST 21: settled by what is the same for all
--- config
    sluice_limit zone=rpm limit=1 settle=1;
--- error_log eval
qr/\[emerg\] .*invalid "settle=1": it must have a variable in /



=== TEST 22: settled by nothing
--- config
    sluice_limit zone=rpm limit=1 settle=;
--- error_log eval
qr/\[emerg\] .*invalid "settle=": it must have a variable in /



=== TEST 23: settled by a variable that nobody defines
--- config
    sluice_limit zone=rpm limit=1 settle=$used;
--- error_log eval
qr/\[emerg\] .*unknown "used" variable/



=== TEST 24: a status that is no error
--- config
    sluice_limit zone=rpm limit=1 status=399;
--- error_log eval
qr/\[emerg\] .*invalid "status=399": it must be 400 to 599 in /



=== TEST 25: a status that is none
--- config
    sluice_limit zone=rpm limit=1 status=600;
--- error_log eval
qr/\[emerg\] .*invalid "status=600": it must be 400 to 599 in /



=== TEST 26: a status in words
--- config
    sluice_limit zone=rpm limit=1 status=busy;
--- error_log eval
qr/\[emerg\] .*invalid "status=busy": it must be 400 to 599 in /



=== TEST 27: a flag misspelt
--- config
    sluice_limit zone=rpm limit=1 dry-run;
--- error_log eval
qr/\[emerg\] .*invalid parameter "dry-run" in /



=== TEST 28: a flag with a value
--- config
    sluice_limit zone=rpm limit=1 dry_run=on;
--- error_log eval
qr/\[emerg\] .*invalid parameter "dry_run=on" in /



=== TEST 29: headers neither on nor off
--- config
    sluice_limit_headers yes;
--- error_log eval
qr/\[emerg\] .*invalid value "yes" in "sluice_limit_headers" directive, it must be "on" or "off" in /



=== TEST 30: headers twice
--- config
    sluice_limit_headers on;
    sluice_limit_headers off;
--- error_log eval
qr/\[emerg\] .*"sluice_limit_headers" directive is duplicate in /



=== TEST 31: a limit that an upstream tells
--- config
    sluice_limit zone=rpm limit=$upstream_http_x_limit;
--- error_log eval
qr/\[emerg\] .*invalid "limit=\$upstream_http_x_limit": "\$upstream_\*" is not known when a request is admitted in /



=== TEST 32: a weight that the answer tells
--- config
    sluice_limit zone=rpm limit=9 weight=${sent_http_x_cost};
--- error_log eval
qr/\[emerg\] .*invalid "weight=\$\{sent_http_x_cost\}": "\$sent_http_\*" is not known when a request is admitted in /



=== TEST 33: a limit of what is in flight that the answer tells
--- http_config
    sluice_limit_conn_zone $remote_addr zone=par:64k;
--- config
    sluice_limit_conn zone=par limit=$status;
--- error_log eval
qr/\[emerg\] .*invalid "limit=\$status": "\$status" is not known when a request is admitted in /



=== TEST 34: a weight that the way out tells
--- config
    sluice_limit zone=rpm limit=9 weight=$sluice_proxy_tries;
--- error_log eval
qr/\[emerg\] .*invalid "weight=\$sluice_proxy_tries": "\$sluice_proxy_\*" is not known when a request is admitted in /



=== TEST 35: a weight that the number of tries tells
--- config
    sluice_limit zone=rpm limit=9 weight=$sluice_tries;
--- error_log eval
qr/\[emerg\] .*invalid "weight=\$sluice_tries": "\$sluice_tries" is not known when a request is admitted in /



=== TEST 36: a limit that is what has been sent
--- config
    sluice_limit zone=rpm limit=$body_bytes_sent;
--- error_log eval
qr/\[emerg\] .*invalid "limit=\$body_bytes_sent": "\$body_bytes_sent" is not known when a request is admitted in /



=== TEST 37: a weight that is in the body; what it cost may be known from all of them
--- config
    sluice_limit zone=rpm limit=9 weight=$request_body settle=$bytes_sent$sluice_proxy_tries$sent_trailer_x$request_body;
    location = /t {
        sluice_limit off;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- must_die: 0
--- request
GET /t
--- x_log
1: ~\[warn\] .*"\$request_body" in "\$request_body" is empty when a request is admitted, unless another module has read the body in 
1: is empty when a request is admitted



=== TEST 38: more than the zone's units can count, and a weight the scale keeps
--- config
    location = /t {
        sluice_limit zone=rpm limit=8388609 weight=4;
    }
--- error_log eval
qr/\[emerg\] .*limit 8388609 in location "\/t" is more than zone "rpm" can count: it needs scale=2$/



=== TEST 39: ... and weights of which nobody knows
--- config
    location = /t {
        sluice_limit zone=rpm limit=8388609 weight=$arg_w;
    }
--- error_log eval
qr/\[emerg\] .*limit 8388609 in location "\/t" is more than zone "rpm" can count: it needs scale=2$/
