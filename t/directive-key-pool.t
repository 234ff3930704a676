# Why it exists: mistakes in a key pool must end the start with a line that an
# operator understands, and that does not have the key in it.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

use File::Temp ();

plan tests => 295;

# files that are sealed, well and not

our $master;

$ENV{TEST_NGINX_SLUICE_SEALED} = sealed();

sub sealed {
    my $dir = File::Temp::tempdir('sluice-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    my ($build) = ($ENV{TEST_NGINX_LOAD_MODULES} // '') =~ m{^(\S+)/};
    my $ctl = ($build // 'build') . '/sluicectl';

    my %plain = (one => "sk-secret\n", two => "b sk-secret2\nc sk-secret3\n",
                 fault => "b sk-secret2\nsk-secret3\n");

    my $seal = sub {
        my ($name, $text, $key) = @_;

        write_file("$dir/plain", $text);
        system("$ctl $key seal $dir/plain > $dir/$name 2> $dir/errors") == 0
            or die "$ctl cannot seal: ", read_file("$dir/errors");
    };

    $seal->('other.sealed', 'sk-secret', "--new-key $dir/other");
    $seal->('first', 'sk-secret', "--new-key $dir/master");
    $seal->($_, $plain{$_}, "--key $dir/master") for sort keys %plain;

    my $sealed = read_file("$dir/two");
    write_file("$dir/cut", substr $sealed, 0, -10);
    substr $sealed, 40, 1, substr($sealed, 40, 1) eq 'A' ? 'B' : 'A';
    write_file("$dir/flipped", $sealed);
    write_file("$dir/empty", '');

    $master = read_file("$dir/master");
    return $dir;
}

sub read_file {
    open my $in, '<:raw', $_[0] or die "$_[0]: $!";
    return do { local $/; <$in> };
}

sub write_file {
    my ($path, $text) = @_;

    open my $out, '>:raw', $path or die "$path: $!";
    chmod 0600, $path;
    print $out $text;
    close $out or die "$path: $!";
}

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('must_die', 1) if !defined $block->request;
    $block->set_value('no_error_log', 'sk-secret');
});

run_tests();

__DATA__

=== TEST 1: no keys
--- http_config
    sluice_key_pool p { balance round_robin; }
--- error_log eval
qr/\[emerg\] .*key pool "p" has no keys in /



=== TEST 2: two pools of one name
--- http_config
    sluice_key_pool p { key sk-secret1 id=a; }
    sluice_key_pool p { key sk-secret2 id=b; }
--- error_log eval
qr/\[emerg\] .*duplicate key pool "p": it is in .*nginx\.conf:\d+ in /



=== TEST 3: a name that no file may have
--- http_config
    sluice_key_pool a/b { key sk-secret id=a; }
--- error_log eval
qr{\[emerg\] .*invalid pool "a/b": it must have 1 to 47 letters, digits, "_" or "-" in }



=== TEST 4: a key without an id
--- http_config
    sluice_key_pool p { key sk-secret; }
--- error_log eval
qr/\[emerg\] .*a key must be "key SECRET id=NAME", "key file:PATH id=NAME" or "key sealed:PATH id=NAME" in /



=== TEST 5: something else for an id
--- http_config
    sluice_key_pool p { key sk-secret name=a; }
--- error_log eval
qr/\[emerg\] .*invalid parameter 2 of a key: it knows "id=", "weight=", "max_conns=", "limit=", "tokens=", "proxy=", "strict" and "backup" in /



=== TEST 6: an empty id
--- http_config
    sluice_key_pool p { key sk-secret id=; }
--- error_log eval
qr/\[emerg\] .*invalid key id "": it must have 1 to 47 letters, digits, "_" or "-" in /



=== TEST 7: one id twice
--- http_config
    sluice_key_pool p { key sk-secret1 id=a; key sk-secret2 id=a; }
--- error_log eval
qr/\[emerg\] .*duplicate key id "a" in pool "p" in /



=== TEST 8: an empty key
--- http_config
    sluice_key_pool p { key "" id=a; }
--- error_log eval
qr/\[emerg\] .*there is no secret in the configuration in /



=== TEST 9: a key that would end its header
--- http_config
    sluice_key_pool p { key "sk-secret\r\nX-Evil: 1" id=a; }
--- error_log eval
qr/\[emerg\] .*the secret in the configuration has a control character at byte 10: a header cannot carry it in /



=== TEST 10: a missing file
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/none id=a; }
--- error_log eval
qr{\[emerg\] .*open\(\) ".*/html/none" failed \(2: No such file or directory\) in }



=== TEST 11: an empty file
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", ""]]
--- error_log eval
qr{\[emerg\] .*there is no secret in .*/html/key in }



=== TEST 12: a file of two lines
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", "sk-secret\nsk-secret2\n"]]
--- error_log eval
qr{\[emerg\] .*the secret in .*/html/key has a control character at byte 10}



=== TEST 13: a fifo must not stop the start
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- post_setup_server_root
use POSIX ();
POSIX::mkfifo("$ServRoot/html/key", 0600) or die "mkfifo: $!";
--- error_log eval
qr{\[emerg\] .*/html/key" is not a regular file in }



=== TEST 14: a file that everybody may read
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", "sk-secret\n"]]
--- post_setup_server_root
umask 022;
--- request
GET /
--- error_log eval
qr{\[warn\] .*/html/key" holds a secret that others may read or change in }



=== TEST 15: a balance that it does not have
--- http_config
    sluice_key_pool p { balance fair; key sk-secret id=a; }
--- error_log eval
qr/\[emerg\] .*a key pool's balance is "round_robin", "least_used", "random" or "hash \$variable" in /



=== TEST 16: an unknown directive
--- http_config
    sluice_key_pool p { kez sk-secret id=a; }
--- error_log eval
qr/\[emerg\] .*unknown directive in a key pool: it knows "key", "keys", "balance", "cooldown", "disable", "exhaust" and "breaker" in /



=== TEST 17: too many keys
--- http_config eval
"sluice_key_pool p {" . CORE::join('', map { "key sk-secret$_ id=k$_;\n" } 1 .. 257)
. "}"
--- error_log eval
qr/\[emerg\] .*key pool "p" has more than 256 keys in /



=== TEST 18: the word before the key is missing
--- http_config
    sluice_key_pool p { sk-secret id=a; }
--- error_log eval
qr/\[emerg\] .*unknown directive in a key pool: it knows "key", "keys", "balance", "cooldown", "disable", "exhaust" and "breaker" in /



=== TEST 19: a weight that is none
--- http_config
    sluice_key_pool p { key sk-secret id=a weight=0; }
--- error_log eval
qr{\[emerg\] .*invalid "weight=0": a weight is 1 to 1000 in }



=== TEST 20: too much of one
--- http_config
    sluice_key_pool p { key sk-secret id=a weight=1001; }
--- error_log eval
qr{\[emerg\] .*invalid "weight=1001": a weight is 1 to 1000 in }



=== TEST 21: no place
--- http_config
    sluice_key_pool p { key sk-secret id=a max_conns=0; }
--- error_log eval
qr{\[emerg\] .*invalid "max_conns=0": 1 to 65535 requests can be in flight in }



=== TEST 22: too many places
--- http_config
    sluice_key_pool p { key sk-secret id=a max_conns=65536; }
--- error_log eval
qr{\[emerg\] .*invalid "max_conns=65536": 1 to 65535 requests can be in flight in }



=== TEST 23: a limit without a window
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=500; }
--- error_log eval
qr{\[emerg\] .*invalid "limit=500": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 24: a limit without a number
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=/1m; }
--- error_log eval
qr{\[emerg\] .*invalid "limit=/1m": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 25: a limit of nothing
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=0/1m; }
--- error_log eval
qr{\[emerg\] .*invalid "limit=0/1m": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 26: a limit that is no number
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=x/1m; }
--- error_log eval
qr{\[emerg\] .*invalid "limit=x/1m": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 27: a window of one and a half seconds
--- http_config
    sluice_key_pool p { key sk-secret id=a tokens=5/1500ms; }
--- error_log eval
qr{\[emerg\] .*invalid "tokens=5/1500ms": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 28: a window that is too long
--- http_config
    sluice_key_pool p { key sk-secret id=a tokens=5/32d; }
--- error_log eval
qr{\[emerg\] .*invalid "tokens=5/32d": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 29: a window that is none
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=5/0; }
--- error_log eval
qr{\[emerg\] .*invalid "limit=5/0": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 30: more tokens than can be counted
--- http_config
    sluice_key_pool p { key sk-secret id=a tokens=99999999999999999999/1m; }
--- error_log eval
qr{\[emerg\] .*invalid "tokens=99999999999999999999/1m": it must be a number, "/", and a window of whole seconds up to 31d, as in "500/1m" in }



=== TEST 31: two limits of one window
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=5/1m limit=6/60s; }
--- error_log eval
qr{\[emerg\] .*"limit=6/60s" is a second limit of the same window in }



=== TEST 32: five windows
--- http_config
    sluice_key_pool p { key sk-secret id=a limit=5/1m tokens=6/1m limit=7/1h tokens=8/1h limit=9/1d; }
--- error_log eval
qr{\[emerg\] .*a key can have 4 windows, and no "limit=9/1d" besides in }



=== TEST 33: four
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-secret id=a weight=1000 max_conns=65535 backup limit=5/1m tokens=6/1m limit=7/31d tokens=8/1h; key sk-secret2 id=b; }
--- request
GET /



=== TEST 34: backups only
--- http_config
    sluice_key_pool p { key sk-secret id=a backup; key sk-secret2 id=b backup; }
--- error_log eval
qr{\[emerg\] .*key pool "p" has backup keys only in }



=== TEST 35: something behind the parameters, which may be a part of the key
--- http_config
    sluice_key_pool p { key Bearer id=a sk-secret; }
--- error_log eval
qr{\[emerg\] .*invalid parameter 3 of a key: it knows "id=", "weight=", "max_conns=", "limit=", "tokens=", "proxy=", "strict" and "backup" in }



=== TEST 36: the key behind the id
--- http_config
    sluice_key_pool p { key id=a sk-secret; }
--- error_log eval
qr{\[emerg\] .*invalid parameter 2 of a key: it knows .* in }



=== TEST 37: a control character, and no other one
--- http_config
    sluice_key_pool p { key "sk-secret	" id=a; }
--- error_log eval
qr{\[emerg\] .*the secret in the configuration has a control character at byte 10: a header cannot carry it in }



=== TEST 38: a key that is too long
--- http_config
    sluice_key_pool p { key file:$TEST_NGINX_SERVER_ROOT/html/key id=a; }
--- user_files eval
[["key", "x" x 4097]]
--- error_log eval
qr{\[emerg\] .*the secret in .*/html/key is too long in }



=== TEST 39: a key that nobody names
--- http_config
    sluice_key_pool p { key file: id=a; }
--- error_log eval
qr{\[emerg\] .*"file:" names no file in }



=== TEST 40: cooldown: 400
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 400 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "400": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 41: cooldown: 404
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 404 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "404": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 42: cooldown: 413
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 413 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "413": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 43: cooldown: 422
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 422 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "422": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 44: cooldown: 200
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 200 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "200": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 45: cooldown: 600
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 600 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "600": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 46: cooldown: no status
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 499999 1s; }
--- error_log eval
qr{\[emerg\] .*invalid status "499999": it must be 401 to 599, and none of 404, 413 and 422, which are the client's in }



=== TEST 47: disable: the client's
--- http_config
    sluice_key_pool p { key sk-secret id=a ; disable 404; }
--- error_log eval
qr{\[emerg\] .*invalid status "404": it must be 401 to 599, and none of .* in }



=== TEST 48: exhaust: the client's
--- http_config
    sluice_key_pool p { key sk-secret id=a ; exhaust 400; }
--- error_log eval
qr{\[emerg\] .*invalid status "400": it must be 401 to 599, and none of .* in }



=== TEST 49: a status in two lines
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 429 403 1s; disable 401 403; }
--- error_log eval
qr{\[emerg\] .*status 403 stands twice in key pool "p" in }



=== TEST 50: a status twice in one
--- http_config
    sluice_key_pool p { key sk-secret id=a ; disable 401 401; }
--- error_log eval
qr{\[emerg\] .*status 401 stands twice in key pool "p" in }



=== TEST 51: what one line takes another leaves
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-secret id=a ; cooldown 401 402 1s; }
--- request
GET /



=== TEST 52: a line twice
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 429 1s; cooldown 529 1s; }
--- error_log eval
qr{\[emerg\] .*"cooldown" is duplicate in key pool "p" in }



=== TEST 53: a line that says nothing
--- http_config
    sluice_key_pool p { key sk-secret id=a ; breaker; }
--- error_log eval
qr{\[emerg\] .*"breaker" says nothing in key pool "p" in }



=== TEST 54: longer than its bound
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 429 2m max=1m; }
--- error_log eval
qr{\[emerg\] .*"cooldown" is longer than its "max=" in }



=== TEST 55: two times
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 429 2m 1m; }
--- error_log eval
qr{\[emerg\] .*invalid parameter "1m" in }



=== TEST 56: a time that is none
--- http_config
    sluice_key_pool p { key sk-secret id=a ; cooldown 429 soon; }
--- error_log eval
qr{\[emerg\] .*invalid "soon": it must be a time of up to 31d in }



=== TEST 57: a time that is too long
--- http_config
    sluice_key_pool p { key sk-secret id=a ; exhaust 402 for=32d; }
--- error_log eval
qr{\[emerg\] .*invalid "for=32d": it must be a time of up to 31d in }



=== TEST 58: no time at all
--- http_config
    sluice_key_pool p { key sk-secret id=a ; breaker open=0; }
--- error_log eval
qr{\[emerg\] .*invalid "open=0": it must be a time of up to 31d in }



=== TEST 59: disable: after none
--- http_config
    sluice_key_pool p { key sk-secret id=a ; disable 401 after=0; }
--- error_log eval
qr{\[emerg\] .*invalid "after=0": 1 to 100 answers in a row may disable a key in }



=== TEST 60: a pattern that matches by chance
--- http_config
    sluice_key_pool p { key sk-secret id=a ; exhaust match=abc; }
--- error_log eval
qr{\[emerg\] .*invalid "match=abc": less than 4 bytes would match by chance in }



=== TEST 61: breaker: no errors
--- http_config
    sluice_key_pool p { key sk-secret id=a ; breaker errors=0; }
--- error_log eval
qr{\[emerg\] .*invalid "errors=0": 1 to 1000 errors in a row may open a breaker in }



=== TEST 62: breaker: open for longer than its bound
--- http_config
    sluice_key_pool p { key sk-secret id=a ; breaker open=2m max=1m; }
--- error_log eval
qr{\[emerg\] .*"open=" is longer than "max=" in }



=== TEST 63: breaker: something else
--- http_config
    sluice_key_pool p { key sk-secret id=a ; breaker close=1s; }
--- error_log eval
qr{\[emerg\] .*invalid parameter "close=1s" in }



=== TEST 64: all lines
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-secret id=a ; balance random; cooldown 429 529 420 1s max=5s; disable 401 403 after=100; exhaust 402 for=1h 'match="broke"' 'match=out of it'; breaker errors=3 window=5s open=1s max=1m probe=10s; }
--- request
GET /



=== TEST 65: none of them
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-secret id=a ; cooldown off; disable off; exhaust off; breaker off; }
--- request
GET /



=== TEST 66: a hash of nothing
--- http_config
    sluice_key_pool p { key sk-secret id=a ; balance hash; }
--- error_log eval
qr{\[emerg\] .*a key pool's balance is "round_robin", "least_used", "random" or "hash \$variable" in }



=== TEST 67: a hash of a variable that there is none
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-secret id=a ; balance hash $nothing; }
--- error_log eval
qr{\[emerg\] .*unknown "nothing" variable}



=== TEST 68: round robin of something
--- http_config
    sluice_key_pool p { key sk-secret id=a ; balance round_robin $uri; }
--- error_log eval
qr{\[emerg\] .*a key pool's balance is .* in }



=== TEST 69: a file of keys
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys weight=2 limit=500/1m; }
--- user_files eval
[["keys", "# the first\na sk-secret1\n\n#b sk-secret2\r\n\r\nc-3_x   sk secret3\r\nd\tsk-secret4"]]
--- request
GET /



=== TEST 70: keys that stand in the configuration
--- http_config
    sluice_key_pool p { keys sk-secret; }
--- error_log eval
qr{\[emerg\] .*keys must be "keys file:PATH" or "keys sealed:PATH" in }



=== TEST 71: keys with an id
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys id=a; }
--- user_files eval
[["keys", "a sk-secret\n"]]
--- error_log eval
qr{\[emerg\] .*invalid parameter 2 of a key: it knows "weight=", "max_conns=", "limit=", "tokens=", "proxy=", "strict" and "backup" in }



=== TEST 72: an empty file of keys
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", ""]]
--- error_log eval
qr{\[emerg\] .*there are no keys in ".*/html/keys" in }



=== TEST 73: comments only
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "# a sk-secret\n\n"]]
--- error_log eval
qr{\[emerg\] .*there are no keys in ".*/html/keys" in }



=== TEST 74: a missing file of keys
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- error_log eval
qr{\[emerg\] .*open\(\) ".*/html/keys" failed \(2: No such file or directory\) in }



=== TEST 75: a line without an id
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a sk-secret1\nsk-secret2\n"]]
--- error_log eval
qr{\[emerg\] .*line 2 of ".*/html/keys" must have an id of 1 to 47 letters, digits, "_" or "-", a space, and a key in }



=== TEST 76: a line that begins with a space
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", " a sk-secret1\n"]]
--- error_log eval
qr{\[emerg\] .*line 1 of ".*/html/keys" must have an id of 1 to 47 letters, digits, "_" or "-", a space, and a key in }



=== TEST 77: an id that is none
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a/b sk-secret1\n"]]
--- error_log eval
qr{\[emerg\] .*line 1 of ".*/html/keys" must have an id of 1 to 47 letters, digits, "_" or "-", a space, and a key in }



=== TEST 78: an id that is too long
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "\n\n" . "a" x 48 . " sk-secret1\n"]]
--- error_log eval
qr{\[emerg\] .*line 3 of ".*/html/keys" must have an id of 1 to 47 letters, digits, "_" or "-", a space, and a key in }



=== TEST 79: an id twice in a file
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a sk-secret1\na sk-secret2\n"]]
--- error_log eval
qr{\[emerg\] .*duplicate key id "a" in pool "p" in }



=== TEST 80: an id of a file's and one of the pool's
--- http_config
    sluice_key_pool p { key sk-secret id=a ; keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a sk-secret1\n"]]
--- error_log eval
qr{\[emerg\] .*duplicate key id "a" in pool "p" in }



=== TEST 81: a control character in a line
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a sk-secret1\nb sk-secret\0002\n"]]
--- error_log eval
qr{\[emerg\] .*the secret in line 2 of .*/html/keys has a control character at byte 10: a header cannot carry it in }



=== TEST 82: a NUL and a line of CR
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a sk-secret\rb sk-secret2\r"]]
--- error_log eval
qr{\[emerg\] .*the secret in line 1 of .*/html/keys has a control character at byte 10: a header cannot carry it in }



=== TEST 83: a line that is too long
--- http_config
    sluice_key_pool p { keys file:$TEST_NGINX_SERVER_ROOT/html/keys; }
--- user_files eval
[["keys", "a " . "x" x 4097]]
--- error_log eval
qr{\[emerg\] .*the secret in line 1 of .*/html/keys is too long in }



=== TEST 84: sealed
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; keys sealed:$TEST_NGINX_SLUICE_SEALED/two; }
--- request
GET /
--- x_log
0: others may read



=== TEST 85: sealed, and no master key
--- http_config
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- error_log eval
qr{\[emerg\] .*".*/one" is sealed, and no "sluice_master_key" stands before this line in }



=== TEST 86: the master key behind it
--- http_config
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
--- error_log eval
qr{\[emerg\] .*".*/one" is sealed, and no "sluice_master_key" stands before this line in }



=== TEST 87: another master key
--- http_config
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/other;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- error_log eval
qr{\[emerg\] .*".*/one": it is sealed under another master key, or it was changed in }



=== TEST 88: a flipped bit
--- http_config
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
    sluice_key_pool p { keys sealed:$TEST_NGINX_SLUICE_SEALED/flipped; }
--- error_log eval
qr{\[emerg\] .*".*/flipped": it is sealed under another master key, or it was changed in }



=== TEST 89: a part of it
--- http_config
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
    sluice_key_pool p { keys sealed:$TEST_NGINX_SLUICE_SEALED/cut; }
--- error_log eval
qr{\[emerg\] .*".*/cut": it is damaged: not base64, or cut off in }



=== TEST 90: one that is not sealed
--- http_config
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
    sluice_key_pool p { keys sealed:$TEST_NGINX_SLUICE_SEALED/plain; }
--- error_log eval
qr{\[emerg\] .*".*/plain": it is not sealed: its first word is not "sluice-sealed-1" in }



=== TEST 91: an empty one
--- http_config
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
    sluice_key_pool p { keys sealed:$TEST_NGINX_SLUICE_SEALED/empty; }
--- error_log eval
qr{\[emerg\] .*".*/empty": it is not sealed: .* in }



=== TEST 92: sealed lines with a fault
--- http_config
    sluice_master_key $TEST_NGINX_SLUICE_SEALED/master;
    sluice_key_pool p { keys sealed:$TEST_NGINX_SLUICE_SEALED/fault; }
--- error_log eval
qr{\[emerg\] .*line 2 of ".*/fault" must have an id .* in }



=== TEST 93: a master key that is too short
--- http_config
    sluice_master_key $TEST_NGINX_SERVER_ROOT/html/key;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- user_files eval
[["key", "sk-secret\n"]]
--- error_log eval
qr{\[emerg\] .*".*/html/key": a master key is 64 hex digits on one line, not 9 characters in }



=== TEST 94: one of other characters
--- http_config
    sluice_master_key $TEST_NGINX_SERVER_ROOT/html/key;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- user_files eval
[["key", "sk-secret" . "0" x 55]]
--- error_log eval
qr{\[emerg\] .*".*/html/key": a master key is 64 hex digits, and this has another character in }



=== TEST 95: an empty master key
--- http_config
    sluice_master_key $TEST_NGINX_SERVER_ROOT/html/key;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- user_files eval
[["key", ""]]
--- error_log eval
qr{\[emerg\] .*".*/html/key": a master key is 64 hex digits on one line, not 0 characters in }



=== TEST 96: no file of the master key's
--- http_config
    sluice_master_key $TEST_NGINX_SERVER_ROOT/html/none;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- error_log eval
qr{\[emerg\] .*open\(\) ".*/html/none" failed \(2: No such file or directory\) in }



=== TEST 97: a master key that everybody may read
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_master_key ../html/key;
    sluice_key_pool p { key sealed:$TEST_NGINX_SLUICE_SEALED/one id=a; }
--- user_files eval
[["key", $::master]]
--- post_setup_server_root
umask 022;
--- request
GET /
--- error_log eval
qr{\[warn\] .*/html/key" holds a secret that others may read or change in }



=== TEST 98: one key under two ids
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-secret id=a; key sk-secret3 id=b; key sk-secret id=c; }
--- request
GET /
--- x_log
1: keys "a" and "c" of pool "p" are the same, under two ids in
0: "b" of pool "p" are the same



=== TEST 99: two ids, of which one would be forgotten
--- http_config
    sluice_key_pool p { key sk-secret id=a id=b; }
--- error_log eval
qr{\[emerg\] .*a key has one "id=", not two in }



=== TEST 100: keys that are no secrets, or too short to be told from other words
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p {
        key EMPTY1 id=a;
        key EMPTY-22 id=b;
        key file:$TEST_NGINX_SERVER_ROOT/html/key id=c;
        keys file:$TEST_NGINX_SERVER_ROOT/html/keys;
    }
--- user_files eval
[["key", "EMPTY33\n"], ["keys", "d EMPTY-44\ne EMPTY55\n"]]
--- request
GET /
--- x_log
3: has less than 8 bytes: an answer's header that repeats it is not masked in
1: ~\[warn\] .*key "a" of pool "p" has less than 8 bytes
1: key "c" of pool "p" has less than 8 bytes
1: key "e" of pool "p" has less than 8 bytes
0: EMPTY
