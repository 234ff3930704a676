package Sluice::Conf;

# nginx with a configuration of one's own, for what Test::Nginx has no words
# for: `nginx -t`, and signals between requests.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::UNIX ();
use Time::HiRes qw( sleep time );

# an upgrade starts what the process was started as: with its whole path
our ($Binary) = grep { -x }
                map { my $name = $_; $name =~ m{/} ? $name
                          : map { "$_/$name" } split /:/, "$ENV{PATH}:/usr/sbin" }
                $ENV{TEST_NGINX_BINARY} || 'nginx';

my @Started;

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

# Starts nginx; dies with what it said.  A master that has a pid file, but has
# not blocked its signals yet, notes one that comes and then sleeps over it.

sub start {
    my ($self) = @_;
    my $started = qr/ start worker process \d/;
    my $before = () = $self->log =~ /$started/g;
    my ($code) = $self->run;

    die "nginx does not start: ", $self->log if $code;
    push @Started, $self;
    $self->until(sub { $self->pid
                       && $before < (() = $self->log =~ /$started/g) })
        or die "nginx has no worker: ", $self->log;
}

sub log {
    my ($self) = @_;

    open my $in, '<', "$self->{root}/error.log" or return '';
    local $/;
    return <$in> // '';
}

# The process in a pid file, if it lives.

sub pid {
    my ($self, $suffix) = @_;

    open my $in, '<', "$self->{root}/nginx.pid" . ($suffix // '') or return;
    my ($pid) = (<$in> // '') =~ /^(\d+)/ or return;
    return kill(0, $pid) ? $pid : undef;
}

sub until {
    my ($self, $done) = @_;
    my $end = time + 5;

    while (time < $end) {
        return 1 if $done->();
        sleep 0.02;
    }

    return 0;
}

# Sends a signal and waits until the log says, once more, what it leads to.

sub signal {
    my ($self, $signal, $pattern) = @_;
    my $said = () = $self->log =~ /$pattern/g;

    kill $signal, $self->pid or die "kill: $!";
    $self->until(sub { $said < (() = $self->log =~ /$pattern/g) })
        or die "nothing about $pattern after $signal:\n", $self->log;
}

# The status of the answer to each path.

sub get {
    my ($self, @paths) = @_;
    my @status;

    for my $path (@paths) {
        my $sock = IO::Socket::UNIX->new(Peer => "$self->{root}/http.sock")
            or die "connect: $!";

        print $sock "GET $path HTTP/1.0\r\n\r\n";
        my $answer = do { local $/; <$sock> } // '';
        push @status, $answer =~ m{^HTTP/1.1 (\d+)} ? $1 : 'none';
    }

    return join ' ', @status;
}

# A zombie whose parent does not reap it is gone as far as we care.

sub gone {
    my ($self, $pid) = @_;

    open my $stat, '<', "/proc/$pid/stat" or return 1;
    return (<$stat> // '') =~ /\) Z /;
}

# A daemon leads a process group: its workers are in it.

sub stop {
    my ($self) = @_;

    for my $suffix ('.oldbin', '') {
        my $pid = $self->pid($suffix) or next;

        kill 'TERM', $pid;
        $self->until(sub { $self->gone($pid) }) or kill 'KILL', $pid, -$pid;
    }
}

# not when objects are destroyed: their folder may be gone before them

END {
    local $?;
    $_->stop for @Started;
}

1;
