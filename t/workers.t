# Why it exists: two workers charge one table, exactly, and each has a lane
# of its own; what they count adds up.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

master_on();
workers(2);

plan tests => 69;

# whichever worker it was: so many requests were let through

my %count;

add_response_body_check(sub {
    my ($block, $body) = @_;
    $count{$block->name}{ $body =~ /It works/ ? 'passed' : 'refused' }++;
});

add_test_cleanup_handler(sub {
    my ($block) = @_;
    my $count = $count{$block->name};

    is($count->{passed}, 20, $block->name . ' - passed');
    is($count->{refused}, 10, $block->name . ' - refused');
});

run_tests();

__DATA__

=== TEST 1: twenty of thirty
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=20;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t") x 30]
--- error_code_like eval
[("200|429") x 30]
--- x_zone
rpm passed=20 refused=10
--- x_records eval
"outcome=admitted status=200\n" x 20 . "outcome=limit status=429\n" x 10
--- x_counters
admitted=20 refused_limit=10 recorded=30 no_slot=0 no_lane=0
--- x_files
lane.UUID
lane.UUID
workers
zone.rpm.1



=== TEST 2: keys in flight are given back by whichever worker took them
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "It works for $http_authorization";
    }
--- config
    location = /t {
        sluice_key p;
        sluice_limit zone=rpm limit=20;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
[("GET /t") x 30]
--- error_code_like eval
[("200|429") x 30]
--- x_members
p a used=20 in_flight=0
