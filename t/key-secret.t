# Why it exists: upstream keys and what clients present must not be found in
# a log that an operator keeps, nor in a file of the directory.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 11;

# what stands in the files of the directory, whichever they are

add_test_cleanup_handler(sub {
    my ($block) = @_;
    my $dir = Sluice::Test::dir();
    my $found = '';

    for my $path (glob "$dir/* $dir/.[a-z]*") {
        open my $in, '<:raw', $path or die "$path: $!";
        my $text = do { local $/; <$in> };
        $found .= "$path has $1\n" while $text =~ /(sk-[a-z]+|me-myself)/g;
    }

    is($found, '', $block->name . ' - the files have no secret');
});

run_tests();

__DATA__

=== TEST 1: admitted, refused, and an upstream that is down
--- log_level: info
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $sluice_client zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-one id=a; key sk-two id=b; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "ok";
    }
--- config
    sluice_usage on;
    sluice_client $http_authorization;
    sluice_limit zone=rpm limit=2;
    sluice_key p;
    proxy_set_header Authorization "Bearer $sluice_key";
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /down {
        proxy_pass http://127.0.0.1:1;
    }
--- request eval
["GET /t", "GET /down", "GET /t"]
--- more_headers
Authorization: Bearer me-myself
--- error_code eval
[200, 502, 429]
--- no_error_log
sk-
me-myself
--- x_records
key=a
key=b
zone=rpm
