# Why it exists: a record is found by the id that the upstream, the log and
# the client have seen: it is the same $request_id everywhere.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 9;

my @bodies;

add_response_body_check(sub {
    my ($block, $body) = @_;
    push @bodies, $body;
});

add_test_cleanup_handler(sub {
    my ($block) = @_;

    for my $record (Sluice::Lane::all_records(Sluice::Test::dir())) {
        is($record->{request_id}, shift @bodies,
           $block->name . ' - the same id');
    }
});

run_tests();

__DATA__

=== TEST 1: the upstream's, the client's and the log's
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    log_format id "[$request_id]";
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / { return 200 $http_x_id; }
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_usage_field id $request_id at=log;
        access_log $TEST_NGINX_SERVER_ROOT/logs/access.log id;
        proxy_set_header X-Id $request_id;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- response_body_like eval
["^[0-9a-f]{32}\$", "^[0-9a-f]{32}\$", "^[0-9a-f]{32}\$"]
