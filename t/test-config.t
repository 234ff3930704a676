# Why it exists: `nginx -t` and `nginx -s` parse the configuration of a
# running gateway: they may tell what is wrong with it, and must neither make
# nor change a thing.

use strict;
use warnings;

use Test::More tests => 24;

require './t/lib/Sluice/Conf.pm';

my $nginx = Sluice::Conf->new;
my $dir = "$nginx->{root}/sluice";

my $http = <<"_END_";
    sluice_dir $dir;
    sluice_limit_zone \$remote_addr zone=rpm:64k window=1m;
    sluice_key_pool p { key sk-secret id=a; }
_END_

my $location = <<'_END_';
    sluice_client $http_authorization;
    sluice_limit zone=rpm limit=1;
    sluice_key p;
    sluice_usage on;
_END_

sub names {
    opendir my $d, $_[0] or return 'none';
    return join ' ', sort grep { !/^\.\.?$/ } readdir $d;
}

# good

$nginx->write_conf(http => $http, location => $location);

my ($code, $out) = $nginx->run('-t');
is($code, 0, 'a good configuration');
like($out, qr/test is successful/, 'said');
unlike($out, qr/sk-secret/, 'no key');
unlike($out, qr/warn/, 'no warning: what is tested is not the machine');
is(names($dir), 'none', 'nothing was made');

($code, $out) = $nginx->run('-T');
is($code, 0, 'dumped');
is(names($dir), 'none', 'nothing was made');

($code, $out) = $nginx->run('-s reopen');
isnt($code, 0, 'a signal, and nobody is there');
is(names($dir), 'none', 'nothing was made');

# the parent may be made later, by what makes /run/sluice

$nginx->write_conf(http => $http =~ s/\Q$dir/$dir\/no\/parent/r);
($code, $out) = $nginx->run('-t');
is($code, 0, 'a directory without a parent');

# the ring

$nginx->write_conf(http => "$http sluice_ring 128k open=33;",
                   location => $location);
($code, $out) = $nginx->run('-t');
is($code, 0, 'more may be open than the ring has room for');
like($out, qr/\[warn\] .*"sluice_ring" of 128k has room for the records of 32 open requests, not of 33: set it to 132k, or "open=" lower/,
     'a warning');

$nginx->write_conf(http => "$http sluice_ring 128k open=32;",
                   location => $location);
($code, $out) = $nginx->run('-t');
unlike($out, qr/warn/, 'as many as it has room for');

$nginx->write_conf(http => "$http sluice_ring 128k;", location => $location);
($code, $out) = $nginx->run('-t');
like($out, qr/\[warn\] .*32 open requests, not of 64/,
     'worker_connections unless set');

$nginx->write_conf(http => "$http sluice_ring 128k;");
($code, $out) = $nginx->run('-t');
unlike($out, qr/warn/, 'no usage, no ring');

# bad

$nginx->write_conf(http => $http, location => 'sluice_limit zone=x limit=1;');
($code, $out) = $nginx->run('-t');
is($code, 1, 'a bad configuration');
like($out, qr/\[emerg\] .*unknown zone "x" in \S+nginx\.conf:\d+: no "sluice_limit_zone" defines it/,
     'said');

$nginx->write_conf(http => $http, location => 'sluice_key x;');
($code, $out) = $nginx->run('-t');
is($code, 1, 'a bad configuration');
like($out, qr/\[emerg\] .*unknown key pool "x" in \S+nginx\.conf:\d+/, 'said');

is(names($dir), 'none', 'nothing was made');

# what is there stays as it is

mkdir $dir, 0700 or die "mkdir: $!";
open my $file, '>', "$dir/zone.rpm.1" or die "open: $!";
print $file 'not a zone';
close $file;

$nginx->write_conf(http => $http, location => $location);
($code, $out) = $nginx->run('-t');
is($code, 0, 'with files that the start would refuse');
is(names($dir), 'zone.rpm.1', 'they stay');
is(-s "$dir/zone.rpm.1", 10, 'as they are');
is((stat $dir)[2] & 07777, 0700, 'and so does the directory');
