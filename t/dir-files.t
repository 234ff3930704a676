# Why it exists: files of another version, damaged ones and those of another
# user must end the start, and say which they are: counting on in a table
# that is not ours would be worse than not to start.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 29;

our $Put = <<'_END_';
    sub put {
        my ($name, $text, $mode) = @_;
        my $dir = "$ServRoot/sluice_temp";

        mkdir $dir, 0770;
        open my $out, '>:raw', "$dir/$name" or die "$dir/$name: $!";
        print $out $text;
        close $out;
        chmod $mode // 0660, "$dir/$name";
    }

    # magic, major, minor, kind, size
    sub header { pack 'x0 a8 S S L Q x488', "SLUICE\x1a\n", @_ }
_END_

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', 'sluice_usage on;');
    $block->set_value('must_die', 1) if !defined $block->request;
    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1m;
        sluice_key_pool p { key sk-1 id=a; }
    ' . ($block->http_config // ''));
    $block->set_value('post_setup_server_root',
                      'no warnings "redefine"; '
                      . $Put . $block->post_setup_server_root);
});

run_tests();

__DATA__

=== TEST 1: a zone of a newer version
--- post_setup_server_root
put('zone.rpm.1', header(2, 0, 2, 512));
--- error_log eval
qr{\[emerg\] .*"zone\.rpm\.1" has version 2\.0, this is 1\.0}
--- x_files
workers
zone.rpm.1



=== TEST 2: a pool of a newer minor version
--- post_setup_server_root
put('pool.p.1', header(1, 1, 3, 512));
--- error_log eval
qr{\[emerg\] .*"pool\.p\.1" has version 1\.1, this is 1\.0}



=== TEST 3: workers of a newer version
--- post_setup_server_root
put('workers', header(2, 0, 1, 512));
--- error_log eval
qr{\[emerg\] .*"workers" has version 2\.0, this is 1\.0}



=== TEST 4: a zone that is truncated in its header
--- post_setup_server_root
put('zone.rpm.1', substr header(1, 0, 2, 512), 0, 100);
--- error_log eval
qr{\[emerg\] .*/sluice_temp/zone\.rpm\.1" is truncated}



=== TEST 5: an empty zone
--- post_setup_server_root
put('zone.rpm.7', '');
--- error_log eval
qr{\[emerg\] .*/sluice_temp/zone\.rpm\.7" is truncated}



=== TEST 6: something else under a zone's name
--- post_setup_server_root
put('zone.rpm.1', 'x' x 8192);
--- error_log eval
qr{\[emerg\] .*"zone\.rpm\.1" is not a file of Sluice}



=== TEST 7: a damaged header
--- post_setup_server_root
put('pool.p.1', header(1, 0, 3, 512));
--- error_log eval
qr{\[emerg\] .*"pool\.p\.1" has a damaged header}



=== TEST 8: a folder under a zone's name
--- post_setup_server_root
mkdir "$ServRoot/sluice_temp", 0770;
mkdir "$ServRoot/sluice_temp/zone.rpm.1" or die $!;
--- error_log eval
qr{\[emerg\] .*open ".*/zone\.rpm\.1" failed \(21: Is a directory\)}



=== TEST 9: a link is not followed
--- post_setup_server_root
put('x', '');
symlink "$ServRoot/sluice_temp/x", "$ServRoot/sluice_temp/zone.rpm.1" or die $!;
--- error_log eval
qr{\[emerg\] .*open ".*/zone\.rpm\.1" failed \(40: Too many levels of symbolic links\)}



=== TEST 10: a zone of another user
--- skip_eval
2: $> != 0
--- post_setup_server_root
put('zone.rpm.1', header(1, 0, 2, 512));
chown 65534, 0, "$ServRoot/sluice_temp/zone.rpm.1" or die $!;
--- error_log eval
qr{\[emerg\] .*/zone\.rpm\.1" belongs to user 65534, not to the worker user 0}



=== TEST 11: a secret that others may read
--- http_config
    sluice_client $http_a;
--- post_setup_server_root
put('client.secret', 's' x 32, 0640);
--- error_log eval
qr{\[emerg\] .*/client\.secret" is not a secret of the worker user, mode 0600, of 32 bytes}



=== TEST 12: a secret that is too short
--- http_config
    sluice_client $http_a;
--- post_setup_server_root
put('client.secret', 's' x 31, 0600);
--- error_log eval
qr{\[emerg\] .*/client\.secret" is not a secret of the worker user, mode 0600, of 32 bytes}



=== TEST 13: what nobody uses may be anything; an unfinished file goes
--- post_setup_server_root
put('zone.other.1', 'x');
put('pool.other.1', 'x');
put('lane.x', 'x');
put('.new.x', 'x');
--- request
GET /
--- no_error_log
[emerg]
[alert]
--- x_files
lane.UUID
lane.UUID
pool.other.1
pool.p.1
workers
zone.other.1
zone.rpm.1
