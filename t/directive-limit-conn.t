# Why it exists: mistakes in sluice_limit_conn and its zones must end the start
# with a line that an operator understands.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 32;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1);
    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_conn_zone $remote_addr zone=par:64k;
    ');
    $block->set_value('config', $block->config // '');
});

run_tests();

__DATA__

=== TEST 1: an unknown zone
--- config
    sluice_limit_conn zone=rpm limit=1;
--- error_log eval
qr/\[emerg\] .*unknown conn zone "rpm" in .*nginx\.conf:\d+: no "sluice_limit_conn_zone" defines it/



=== TEST 2: a limit of 0
--- config
    sluice_limit_conn zone=par limit=0;
--- error_log eval
qr/\[emerg\] .*invalid "limit=0": it must be a number from 1, or a variable in /



=== TEST 3: no limit, no zone
--- config
    sluice_limit_conn zone=par;
--- error_log eval
qr/\[emerg\] .*"sluice_limit_conn" must have "limit" parameter in /



=== TEST 4: what it does not know
--- config
    sluice_limit_conn zone=par limit=1 weight=2;
--- error_log eval
qr/\[emerg\] .*invalid parameter "weight=2" in /



=== TEST 5: a status that is no refusal
--- config
    sluice_limit_conn zone=par limit=1 status=200;
--- error_log eval
qr/\[emerg\] .*invalid "status=200": it must be 400 to 599 in /



=== TEST 6: twice the same
--- config
    sluice_limit_conn zone=par limit=1;
    sluice_limit_conn zone=par limit=2;
--- error_log eval
qr/\[emerg\] .*"sluice_limit_conn" directive is duplicate in /



=== TEST 7: off beside a limit
--- config
    sluice_limit_conn zone=par limit=1;
    sluice_limit_conn off;
--- error_log eval
qr/\[emerg\] .*"sluice_limit_conn" directive is set already in /



=== TEST 8: a zone that is too small
--- http_config
    sluice_limit_conn_zone $remote_addr zone=small:32k;
--- error_log eval
qr/\[emerg\] .*zone "zone=small:32k" is too small: it must have 36k to 576m in /



=== TEST 9: a zone without a size
--- http_config
    sluice_limit_conn_zone $remote_addr zone=small;
--- error_log eval
qr/\[emerg\] .*invalid zone size "zone=small" in /



=== TEST 10: the same zone twice
--- http_config
    sluice_limit_conn_zone $remote_addr zone=par:64k;
--- error_log eval
qr/\[emerg\] .*duplicate conn zone "par": it is in .*nginx\.conf:\d+/



=== TEST 11: a key that is empty at admission
--- http_config
    sluice_limit_conn_zone $upstream_status zone=late:64k;
--- error_log eval
qr/\[emerg\] .*zone "late" never matches: its key "\$upstream_status" is empty when a request is admitted in /



=== TEST 12: by a client that the location does not know
--- http_config
    sluice_limit_conn_zone $sluice_client zone=clients:64k;
--- config
    location = /t {
        sluice_limit_conn zone=clients limit=1;
    }
--- error_log eval
qr/\[emerg\] .*limit "clients" in location "\/t" never matches: it counts by \$sluice_client/



=== TEST 13: the name of a zone of windows, which a client could not tell apart
--- http_config
    sluice_limit_zone $remote_addr zone=both:64k window=1m;
    sluice_limit_conn_zone $remote_addr zone=both:64k;
--- error_log eval
qr/\[emerg\] .*duplicate conn zone "both": a zone of that name is in .*nginx\.conf:\d+ in .*nginx\.conf:\d+/



=== TEST 14: ... in the other order
--- http_config
    sluice_limit_conn_zone $remote_addr zone=both:64k;
    sluice_limit_zone $remote_addr zone=both:64k window=1m;
--- error_log eval
qr/\[emerg\] .*duplicate zone "both": a conn zone of that name is in .*nginx\.conf:\d+ in .*nginx\.conf:\d+/



=== TEST 15: ... and if it was named before
--- http_config
    sluice_limit zone=both limit=1;
    sluice_limit_conn zone=both limit=1;
    sluice_limit_conn_zone $remote_addr zone=both:64k;
    sluice_limit_zone $remote_addr zone=both:64k window=1m;
--- error_log eval
qr/\[emerg\] .*duplicate zone "both": a conn zone of that name is in .*nginx\.conf:\d+ in .*nginx\.conf:\d+/



=== TEST 16: a name that only begins as another one is another one
--- http_config
    sluice_limit_zone $remote_addr zone=both:64k window=1m;
    sluice_limit_conn_zone $remote_addr zone=bot:64k;
    sluice_limit_conn_zone $remote_addr zone=both2:64k;
--- config
    sluice_limit_conn zone=none limit=1;
--- error_log eval
qr/\[emerg\] .*unknown conn zone "none" in .*nginx\.conf:\d+: no "sluice_limit_conn_zone" defines it/
