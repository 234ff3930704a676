# Why it exists: a client is known by a keyed hash of what it presents, the
# same in every worker and after every reload, and by nothing else.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

use Digest::SHA 'hmac_sha256_hex';

plan tests => 31;

sub hash { substr hmac_sha256_hex(@_), 0, 32 }

# with a secret that was made, the hash is known once it is

add_test_cleanup_handler(sub {
    my ($block) = @_;
    my $path = Sluice::Test::dir() . '/client.secret';

    return if !defined $block->x_made;

    open my $in, '<:raw', $path or die "$path: $!";
    my $secret = do { local $/; <$in> };

    is(length $secret, 32, $block->name . ' - so long is the secret');
    is((stat $path)[2] & 0777, 0600, $block->name . ' - nobody may read it');

    my ($record) = Sluice::Lane::all_records(Sluice::Test::dir());
    is($record->{client}, hash('me', $secret), $block->name . ' - the hash');
});

run_tests();

__DATA__

=== TEST 1: a secret of the operator's
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret "a secret of some length";
--- config
    location = /t {
        sluice_client $http_authorization;
        add_header X-Client "[$sluice_client]";
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t"]
--- more_headers eval
["Authorization: a", "Authorization: b", "", "Authorization: a"]
--- response_headers eval
['X-Client: [' . ::hash('a', 'a secret of some length') . ']',
 'X-Client: [' . ::hash('b', 'a secret of some length') . ']', 'X-Client: []',
 'X-Client: [' . ::hash('a', 'a secret of some length') . ']']
--- x_files
workers



=== TEST 2: a secret that is longer than a block of SHA-256, from a file
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret file:../html/secret;
--- config
    location = /t {
        sluice_client $arg_a;
        add_header X-Client $sluice_client;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- user_files eval
[["secret", "s" x 65 . "\n"]]
--- request
GET /t?a=x
--- response_headers eval
'X-Client: ' . ::hash('x', 's' x 65)



=== TEST 3: a secret that is made
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
--- config
    sluice_usage on;
    sluice_client $arg_a;
--- request
GET /?a=me
--- error_log
client.secret": clients have other ids after the next boot
--- x_made
--- x_files
client.secret
lane.UUID
workers



=== TEST 4: a secret that was made before
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
--- config
    sluice_usage on;
    sluice_client $arg_a;
--- post_setup_server_root
mkdir "$ServRoot/sluice_temp", 0770;
umask 077;
open my $out, '>', "$ServRoot/sluice_temp/client.secret" or die $!;
print $out 's' x 32;
close $out;
umask 022;
--- request
GET /?a=me
--- no_error_log
have other ids
--- x_made
--- x_records eval
'client=' . ::hash('me', 's' x 32)



=== TEST 5: of one location only; off within it; asked for in any phase
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret "a secret of some length";
    sluice_client $arg_a;
--- config
    location /t/ {
        sluice_client $arg_b;
        set $early $sluice_client;
        add_header X-Client "$sluice_client $early";
        alias $TEST_NGINX_SERVER_ROOT/html/;
        location /t/off/ {
            sluice_client off;
            add_header X-Client "[$sluice_client]";
            alias $TEST_NGINX_SERVER_ROOT/html/;
        }
    }
--- request eval
["GET /t/index.html?a=1&b=2", "GET /t/off/index.html?a=1&b=2"]
--- response_headers eval
my $hash = ::hash('2', 'a secret of some length');
["X-Client: $hash $hash", "X-Client: []"]



=== TEST 6: what somebody has made of the header's variable counts
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret "a secret of some length";
    map $arg_a $http_authorization { default $arg_a; }
--- config
    location = /t {
        sluice_client $http_authorization;
        add_header X-Client $sluice_client;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t?a=x
--- more_headers
Authorization: y
--- response_headers eval
'X-Client: ' . ::hash('x', 'a secret of some length')



=== TEST 7: the same by "set"
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret "a secret of some length";
--- config
    location = /t {
        set $http_authorization $arg_a;
        sluice_client $http_authorization;
        add_header X-Client $sluice_client;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t?a=x
--- more_headers
Authorization: y
--- response_headers eval
'X-Client: ' . ::hash('x', 'a secret of some length')
