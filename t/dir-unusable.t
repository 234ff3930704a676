# Why it exists: a directory that cannot be used must end the start, and say
# why: without it nothing would be limited or recorded.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 17;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('config', 'sluice_usage on;');
    $block->set_value('must_die', 1);
    $block->set_value('http_config',
                      'sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;')
        if !defined $block->http_config;
});

run_tests();

__DATA__

=== TEST 1: its parent is missing
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/no/sluice;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": mkdir ".*/no/sluice" failed \(2: No such file or directory\)}



=== TEST 2: a file is in its place
--- post_setup_server_root
open my $out, '>', "$ServRoot/sluice_temp" or die $!;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": open ".*/sluice_temp" failed \(20: Not a directory\)}



=== TEST 3: everybody may write into it
--- post_setup_server_root
mkdir "$ServRoot/sluice_temp" or die $!;
chmod 0777, "$ServRoot/sluice_temp" or die $!;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": ".*/sluice_temp" may be written by everybody}
--- x_files eval
''



=== TEST 4: it belongs to somebody else
--- skip_eval
2: $> != 0
--- post_setup_server_root
mkdir "$ServRoot/sluice_temp" or die $!;
chown 65534, 65534, "$ServRoot/sluice_temp" or die $!;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": ".*/sluice_temp" belongs to user 65534, not to the worker user 0}



=== TEST 5: we may not write into it
--- skip_eval
2: $> == 0
--- post_setup_server_root
mkdir "$ServRoot/sluice_temp", 0550 or die $!;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": ".*/sluice_temp" is not writable \(13: Permission denied\)}



=== TEST 6: a path that is too long
--- http_config eval
'sluice_dir /' . 'x' x 300 . ';'
--- error_log eval
qr{\[emerg\] .*"sluice_dir": mkdir "/x+" failed \(36: File name too long\)}



=== TEST 7: it is a link to nowhere
--- post_setup_server_root
symlink "$ServRoot/nowhere", "$ServRoot/sluice_temp" or die $!;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": open ".*/sluice_temp" failed \(2: No such file or directory\)}



=== TEST 8: a file system that lets nobody in
--- http_config
    sluice_dir /proc/self/fdinfo/sluice;
--- error_log eval
qr{\[emerg\] .*"sluice_dir": mkdir "/proc/self/fdinfo/sluice" failed \(}
