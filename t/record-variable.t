# Why it exists: $sluice_record is the record's _id, so that a line of the
# access log, or a client's complaint, leads to the record.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 16;

my @bodies;

add_response_body_check(sub { push @bodies, $_[1] });

add_test_cleanup_handler(sub {
    my ($block) = @_;
    my @records = Sluice::Lane::all_records(Sluice::Test::dir());

    return if !defined $block->x_ids;

    open my $log, '<', "$Test::Nginx::Util::ServRoot/logs/ids" or die $!;
    is(join('', map { "$_->{lane}/$_->{sequence}\n" } @records),
       join('', <$log>), $block->name . ' - the log has the ids');
});

run_tests();

__DATA__

=== TEST 1: in the access log
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    log_format id "$sluice_record";
--- config
    location = /t {
        sluice_usage on;
        access_log $TEST_NGINX_SERVER_ROOT/logs/ids id;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- x_ids
--- x_records
sequence=1
sequence=2



=== TEST 2: in a header; not where there is no record
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    add_header X-Record "$sluice_record" always;
    location = /t {
        sluice_usage on;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /limit {
        sluice_usage on refused=off;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /off {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /off", "GET /limit", "GET /limit"]
--- error_code eval
[200, 200, 200, 429]
--- raw_response_headers_like eval
["X-Record: [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/1\r\n", "Content-Type",
 "X-Record: .*/2\r\n", "Retry-After"]
--- raw_response_headers_unlike eval
["X-Record: /", "X-Record", "X-Record: /", "X-Record"]
