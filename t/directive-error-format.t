# Why it exists: mistakes in sluice_error_format must end the start with a line
# that an operator understands.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 4;

run_tests();

__DATA__

=== TEST 1: an unknown format
--- config
    sluice_error_format xml;
--- must_die: 1
--- error_log eval
qr/\[emerg\] .*invalid value "xml" in /



=== TEST 2: twice
--- config
    sluice_error_format openai;
    sluice_error_format problem;
--- must_die: 1
--- error_log eval
qr/\[emerg\] .*"sluice_error_format" directive is duplicate in /
