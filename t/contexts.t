# Why it exists: each directive stands where the manual says, and nowhere
# else: in the main block a location's setting would do nothing, silently.

use strict;
use warnings;

use Test::More;

require './t/lib/Sluice/Conf.pm';

my %main = (
    sluice_dir           => 'sluice_dir DIR;',
    sluice_ring          => 'sluice_ring 1m;',
    sluice_node          => 'sluice_node n;',
    sluice_client_secret => 'sluice_client_secret 1234567890123456;',
    sluice_limit_zone    => 'sluice_limit_zone $uri zone=b:4k window=1m;',
    sluice_key_pool      => 'sluice_key_pool q { key sk-2 id=a; }',
);

my %location = (
    sluice_client        => 'sluice_client $http_a;',
    sluice_limit         => 'sluice_limit zone=z limit=1;',
    sluice_key           => 'sluice_key p;',
    sluice_usage         => 'sluice_usage on refused=off;',
    sluice_usage_field   => 'sluice_usage_field a $http_a;',
    sluice_error_format  => 'sluice_error_format openai;',
);

my %where = (
    'main'     => sub { (main => $_[0]) },
    'http'     => sub { (http => $_[0]) },
    'server'   => sub { (server => $_[0]) },
    'location' => sub { (location => $_[0]) },
    'if'       => sub { (location => "if (\$arg_a) { $_[0] }") },
    'upstream' => sub { (http => "upstream u { server 127.0.0.1:1; $_[0] }") },
);

my %allowed = (
    (map { $_ => { http => 1 } } keys %main),
    (map { $_ => { http => 1, server => 1, location => 1 } } keys %location),
);

plan tests => 2 * (keys(%main) + keys %location) * keys %where;

my $nginx = Sluice::Conf->new;

for my $name (sort keys %allowed) {
    for my $context (sort keys %where) {
        my $line = $main{$name} // $location{$name};
        my %part = $where{$context}->($line);

        # what the line needs, unless it is that itself
        $part{http} = join "\n",
            ($name ne 'sluice_dir' ? 'sluice_dir DIR;' : ()),
            'sluice_limit_zone $remote_addr zone=z:4k window=1m;',
            'sluice_key_pool p { key sk-1 id=a; }', $part{http} // '';

        $part{http} .= "\nsluice_dir DIR;\n"
            if $name eq 'sluice_dir' && !$allowed{$name}{$context};

        s{\bDIR\b}{$nginx->{root}/sluice}g for values %part;

        $nginx->write_conf(%part);
        my ($code, $out) = $nginx->run('-t');

        if ($allowed{$name}{$context}) {
            is($code, 0, "$name in $context") or diag $out;
            like($out, qr/test is successful/, "$name in $context, said");

        } else {
            is($code, 1, "$name not in $context");
            like($out, qr/\[emerg\] .*"$name" directive is not allowed here/,
                 "$name not in $context, said");
        }
    }
}
