# Why it exists: mistakes in sluice_usage and sluice_usage_field must end the
# start with a line that an operator understands.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 24;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1);
    $block->set_value('http_config',
                      'sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;');
});

run_tests();

__DATA__

=== TEST 1: neither on nor off
--- config
    sluice_usage yes;
--- error_log eval
qr/\[emerg\] .*invalid value "yes" in "sluice_usage" directive, it must be "on" or "off" in /



=== TEST 2: an unknown parameter
--- config
    sluice_usage on refused=no;
--- error_log eval
qr/\[emerg\] .*invalid parameter "refused=no" in /



=== TEST 3: twice
--- config
    sluice_usage on;
    sluice_usage off;
--- error_log eval
qr/\[emerg\] .*"sluice_usage" directive is duplicate in /



=== TEST 4: a field's name that is too long
--- config eval
'sluice_usage on; sluice_usage_field ' . 'n' x 33 . ' $http_a;'
--- error_log eval
qr/\[emerg\] .*invalid field name "n{33}": it must have 1 to 32 letters, digits, "_" or "-" in /



=== TEST 5: a field's name with a dot
--- config
    sluice_usage_field a.b $http_a;
--- error_log eval
qr/\[emerg\] .*invalid field name "a\.b": it must have/



=== TEST 6: a field without a name
--- config
    sluice_usage_field "" $http_a;
--- error_log eval
qr/\[emerg\] .*invalid field name "": it must have/



=== TEST 7: an unknown parameter
--- config
    sluice_usage_field a $http_a at=end;
--- error_log eval
qr/\[emerg\] .*invalid parameter "at=end" in /



=== TEST 8: a value that is not there yet when a request is admitted
--- config
    sluice_usage_field a $upstream_http_x;
--- error_log eval
qr/\[emerg\] .*field "a" has \$\S+, which is not known when a request is admitted: add "at=log" in /



=== TEST 9: another one
--- config
    sluice_usage_field a "x-$sent_http_x";
--- error_log eval
qr/\[emerg\] .*field "a" has \$\S+, which is not known/



=== TEST 10: two fields of one name
--- config
    sluice_usage_field a $http_a;
    sluice_usage_field a $http_b at=log;
--- error_log eval
qr/\[emerg\] .*"sluice_usage_field" directive has a field of that name already in /



=== TEST 11: an unknown variable
--- config
    sluice_usage_field a $no_such_variable;
--- error_log eval
qr/\[emerg\] .*unknown "no_such_variable" variable/



=== TEST 12: a field that would record a key
--- config
    sluice_usage_field s "x${sluice_key}y" at=log;
--- error_log eval
qr/\[emerg\] .*field "s" would record a key/
