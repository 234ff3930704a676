package Sluice::Conf;

# nginx with a configuration of one's own, for what Test::Nginx has no words
# for: `nginx -t`, and signals between requests.

use strict;
use warnings;

use File::Temp ();

our $Binary = $ENV{TEST_NGINX_BINARY} || 'nginx';

# A folder for one nginx, removed at the end.

sub new {
    my ($class) = @_;
    my $dir = File::Temp->newdir('sluice-XXXXXX', TMPDIR => 1);

    return bless { root => $dir->dirname, guard => $dir }, $class;
}

sub write_conf {
    my ($self, %part) = @_;
    my $root = $self->{root};
    my $modules = join ' ', map { "load_module $_;" }
                            split ' ', $ENV{TEST_NGINX_LOAD_MODULES} || '';
    my $temp = join ' ', map { "${_}_temp_path $root/${_}_temp;" }
                         qw( client_body proxy fastcgi scgi uwsgi );

    $_ //= '' for @part{qw( main http server location )};

    open my $out, '>', "$root/nginx.conf" or die "cannot write: $!";
    print $out <<"_END_";
$modules
daemon on;
pid $root/nginx.pid;
error_log $root/error.log info;
@{[ $> == 0 ? 'user root;' : '' ]}
$part{main}
events { worker_connections 64; }
http {
    access_log off;
    $temp
    $part{http}
    server {
        listen unix:$root/http.sock;
        $part{server}
        location = /t {
            root $root;
            $part{location}
        }
    }
}
_END_
    close $out or die "cannot write: $!";
}

# Runs nginx; returns its exit code and what it wrote.

sub run {
    my ($self, @args) = @_;
    my $root = $self->{root};
    my $out = `$Binary -e stderr -p $root -c $root/nginx.conf @args 2>&1`;

    return $? >> 8, $out;
}

1;
