# Why it exists: a reload that adds, removes or reorders keys keeps what is
# known of the others; a key is its id and its secret: a new secret is a new
# key, and a limit that is changed begins anew.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();
no_root_location();

plan tests => 55;

our $http = '
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    server {
        listen $TEST_NGINX_SLUICE_PORT;
        location = /429 { return 429; }
        location = /401 { return 401; }
        location = /402 { return 402; }
        location = /500 { return 500; }
        location / { return 200 "$http_authorization"; }
    }
';

our $config = '
    sluice_key p;
    sluice_key_next off;
    proxy_set_header Authorization $sluice_key;
    add_header X-Key "$sluice_key_id $sluice_key_state" always;
    location / {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
';

# a port that is the same in all blocks

$ENV{TEST_NGINX_SLUICE_PORT} = do {
    my $sock = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die $!;
    $sock->sockport;
};

run_tests();

__DATA__

=== TEST 1: one cools, one is disabled, one is exhausted, one in trouble
--- http_config eval
$::http . '
    sluice_key_pool p {
        key A id=a; key B id=b; key C id=c; key D id=d; key E id=e;
        disable 401 after=1;
        breaker errors=1 open=40s;
    }
'
--- config eval: $::config
--- request eval
["GET /429", "GET /401", "GET /402", "GET /500", "GET /"]
--- error_code eval
[429, 401, 402, 500, 200]
--- x_members
p a state=cooling reason=status
p b state=disabled
p c state=exhausted
p d state=cooling reason=errors
p e state=healthy used=1



=== TEST 2: reordered, and one more: they are what they were
--- http_config eval
$::http . '
    sluice_key_pool p {
        key F id=f; key D id=d; key B id=b; key C id=c; key A id=a; key E id=e;
    }
'
--- config eval: $::config
--- request eval
["GET /", "GET /", "GET /"]
--- response_body_like eval
[("^[EF]\$") x 3]
--- x_members
p a state=cooling reason=status used=1
p b state=disabled used=1
p c state=exhausted used=1
p d state=cooling reason=errors used=1
p e state=healthy
p f state=healthy



=== TEST 3: two are gone: what is left has nobody that is well
--- http_config eval
$::http . '
    sluice_key_pool p { key A id=a; key B id=b; key C id=c; }
'
--- config eval: $::config
--- request
GET /
--- error_code: 429
--- raw_response_headers_like: Retry-After: [1-9]



=== TEST 4: and come back: nobody has forgotten
--- http_config eval
$::http . '
    sluice_key_pool p { key D id=d; key E id=e; }
'
--- config eval: $::config
--- request eval
["GET /", "GET /"]
--- response_body eval
[qw( E E )]
--- x_members
p a state=cooling
p b state=disabled
p c state=exhausted
p d state=cooling reason=errors used=1
p e state=healthy used=~^[3-9]$
p f state=healthy



=== TEST 5: a new secret is a new key, though its name is an old one
--- http_config eval
$::http . '
    sluice_key_pool p { key B2 id=b; key C2 id=c; }
'
--- config eval: $::config
--- request eval
["GET /", "GET /", "GET /"]
--- response_body eval
[qw( B2 C2 B2 )]
--- response_headers eval
["X-Key: b healthy", "X-Key: c healthy", "X-Key: b healthy"]



=== TEST 6: the old secret is what it was
--- http_config eval
$::http . '
    sluice_key_pool p { key B id=b; key C2 id=c; }
'
--- config eval: $::config
--- request eval
["GET /", "GET /"]
--- response_body eval
[qw( C2 C2 )]



=== TEST 7: another name makes another key of it
--- http_config eval
$::http . '
    sluice_key_pool p { key B id=b3; }
'
--- config eval: $::config
--- request
GET /
--- response_body: B



=== TEST 8: another pool of the same keys knows nothing of it
--- http_config eval
$::http . '
    sluice_key_pool q { key A id=a; key B id=b; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key q;/;
$config
--- request eval
["GET /", "GET /"]
--- response_body_like eval
["^[AB]\$", "^[AB]\$"]



=== TEST 9: a window
--- http_config eval
$::http . '
    sluice_key_pool w { key A id=a limit=3/1h; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key w;/;
$config
--- request eval
["GET /", "GET /"]
--- error_code eval
[200, 200]



=== TEST 10: more of the same: what was counted counts on
--- http_config eval
$::http . '
    sluice_key_pool w { key B id=b limit=1/1h; key A id=a limit=4/1h; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key w;/;
$config
--- request eval
["GET /", "GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 200, 429]



=== TEST 11: less than was counted: full
--- http_config eval
$::http . '
    sluice_key_pool w { key A id=a limit=2/1h; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key w;/;
$config
--- request
GET /
--- error_code: 429



=== TEST 12: another time: counted anew
--- http_config eval
$::http . '
    sluice_key_pool w { key A id=a limit=2/2h; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key w;/;
$config
--- request eval
["GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 429]



=== TEST 13: what a pool does about answers counts at once
--- http_config eval
$::http . '
    sluice_key_pool q { key A id=a; key B id=b; cooldown 401 7s; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key q;/;
$config
--- request
GET /401
--- error_code: 401
--- response_headers_like
X-Key: [ab] cooling



=== TEST 14: a reload that fails changes nothing
--- http_config eval
$::http . '
    sluice_key_pool q { key A2 id=a; key B2 id=b; }
    sluice_key_pool q { key A2 id=a; }
'
--- config eval
(my $config = $::config) =~ s/sluice_key p;/sluice_key q;/;
$config
--- reload_fails
--- request eval
["GET /", "GET /"]
--- response_body_like eval
["^[AB]\$", "^[AB]\$"]
