package Test::Nginx::Util;

# The settings of a run, nginx's configuration file, and nginx's process.
#
# One half of the stand-in for Test::Nginx::Socket; see Socket.pm for what is
# supported.  Variables and functions that a .t file may reach for have the
# names, and the defaults, that the real one gives them.

use strict;
use warnings;

use Carp qw( croak );
use Exporter qw( import );
use File::Find ();
use File::Path qw( make_path remove_tree );
use File::Spec ();
use IO::Socket::INET ();
use POSIX ();
use Test::More ();
use Time::HiRes qw( sleep );

our @EXPORT = qw(
    add_block_preprocessor add_cleanup_handler add_test_cleanup_handler
    bail_out check_accum_error_log config_preamble env_to_nginx html_dir
    log_level master_off master_on master_process_enabled no_long_string
    no_root_location no_shuffle repeat_each server_addr server_name
    server_port server_port_for_client server_root timeout use_hup
    worker_connections workers
);

our @EXPORT_OK = qw(
    cleanup error_log_data access_log_data eval_perl expand launch_nginx
    nginx_is_alive parse_time prepare_server_root reload_nginx running_nginx
    start_nginx stop_nginx use_http2 write_user_files
    curl_exchange note_verbose
);

# What the real one would obey and this one does not: a run that believes it
# is checked by valgrind must not pass because nobody looked.

my @Refused = qw(
    BENCHMARK CHECK_LEAK ERROR_LOG EVENT_TYPE IGNORE_MISSING_DIRECTIVES
    LD_PRELOAD NO_NGINX_MANAGER POSTPONE_OUTPUT REUSE_PORT USE_HTTP2 USE_HTTP3
    USE_RR USE_STAP USE_VALGRIND
);

for (map { "TEST_NGINX_$_" } @Refused) {
    die "$_ is not supported by the stand-in for Test::Nginx\n" if $ENV{$_};
}

if (!($ENV{TEST_NGINX_FORCE_RESTART_ON_TEST} // 1)) {
    die "TEST_NGINX_FORCE_RESTART_ON_TEST=0 is not supported"
        . " by the stand-in for Test::Nginx\n";
}

our $Verbose          = $ENV{TEST_NGINX_VERBOSE};
our $NginxBinary      = $ENV{TEST_NGINX_BINARY} || 'nginx';
our $LoadModules      = $ENV{TEST_NGINX_LOAD_MODULES} || '';
our $TestNginxSleep   = $ENV{TEST_NGINX_SLEEP} || 0.015;
our $WorkerUser       = $ENV{TEST_NGINX_WORKER_USER};
our $Randomize        = $ENV{TEST_NGINX_RANDOMIZE};
our $UseHup           = $ENV{TEST_NGINX_USE_HUP};
our $NoShuffle        = $ENV{TEST_NGINX_NO_SHUFFLE};
our $CheckAccumErrLog = $ENV{TEST_NGINX_CHECK_ACCUM_ERR_LOG};

our $RepeatEach           = 1;
our $Workers              = 1;
our $WorkerConnections    = 64;
our $LogLevel             = $ENV{TEST_NGINX_LOG_LEVEL} || 'debug';
our $MasterProcessEnabled = $ENV{TEST_NGINX_MASTER_PROCESS} || 'off';
our $Timeout              = $ENV{TEST_NGINX_TIMEOUT} || 3;
our $ServerAddr           = '127.0.0.1';
our $ServerName           = 'localhost';
our $ConfigPreamble       = '';
our $NoRootLocation;

our $RandPorts = {};    # $TEST_NGINX_RAND_PORT_n => port, for one block
my @Held;               # the sockets that hold them

our $ServerPort = $Randomize ? gen_rand_port()
                  : $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT}
                    || 1984;
our $ServerPortForClient = !$Randomize && $ENV{TEST_NGINX_CLIENT_PORT}
                           || $ServerPort;

our $ServRoot = $Randomize ? File::Spec->rel2abs("t/servroot_$ServerPort")
                : $ENV{TEST_NGINX_SERVROOT}
                  || File::Spec->rel2abs('t/servroot');
our $LogDir     = "$ServRoot/logs";
our $ErrLogFile = "$LogDir/error.log";
our $AccLogFile = "$LogDir/access.log";
our $PidFile    = "$LogDir/nginx.pid";
our $HtmlDir    = "$ServRoot/html";
our $ConfDir    = "$ServRoot/conf";
our $ConfFile   = "$ConfDir/nginx.conf";

$ENV{TEST_NGINX_SERVER_ROOT} = $ServRoot;

our (@BlockPreprocessors, @TestCleanupHandlers, @CleanupHandlers);
our @EnvToNginx;
our $ErrLogFilePos = 0;
our $ConfigVersion = '';

our $AtEnd;             # what is to be checked when nginx is gone

my $Owner = $$;         # a forked child must not stop nginx
my $NginxPid;           # also when a test removed the pid file

my $Build = `$NginxBinary -V 2>&1` // '';
our $NginxVersion = $Build =~ m{/(\d+)\.(\d+)\.(\d+)} ? canon($1, $2, $3)
                    : undef;

sub canon { return sprintf '%d.%03d%03d', @_ }

# Settings: with an argument they set, they always return the value.

my %Setting = (
    config_preamble        => \$ConfigPreamble,
    log_level              => \$LogLevel,
    repeat_each            => \$RepeatEach,
    server_addr            => \$ServerAddr,
    server_name            => \$ServerName,
    server_port            => \$ServerPort,
    server_port_for_client => \$ServerPortForClient,
    timeout                => \$Timeout,
    worker_connections     => \$WorkerConnections,
    workers                => \$Workers,
);

while (my ($name, $value) = each %Setting) {
    no strict 'refs';
    *$name = sub (@) { $$value = shift if @_; return $$value };
}

sub check_accum_error_log () { $CheckAccumErrLog = 1 }
sub html_dir ()              { return $HtmlDir }
sub master_off ()            { $MasterProcessEnabled = 'off' }
sub master_on ()             { $MasterProcessEnabled = 'on' }
sub no_long_string ()        { }    # differences are always shown as a diff
sub no_root_location ()      { $NoRootLocation = 1 }
sub no_shuffle ()            { $NoShuffle = 1 }
sub server_root ()           { return $ServRoot }
sub use_hup ()               { $UseHup = 1 }

sub add_block_preprocessor (&)   { unshift @BlockPreprocessors, shift }
sub add_cleanup_handler ($)      { unshift @CleanupHandlers, shift }
sub add_test_cleanup_handler ($) { unshift @TestCleanupHandlers, shift }

sub master_process_enabled (@) {
    $MasterProcessEnabled = shift() ? 'on' : 'off' if @_;
    return $MasterProcessEnabled;
}

sub env_to_nginx (@) {
    croak 'env_to_nginx: no arguments' if !@_;

    for my $var (@_) {
        croak "env_to_nginx: bad argument: $var"
            if $var !~ /^[A-Za-z_]/ || $var =~ /\n/;
        push @EnvToNginx, $var =~ /\s/ ? "'$var'" : $var;
    }
}

sub bail_out (@) {
    cleanup();
    Test::More::BAIL_OUT(join '', @_);
}

sub note_verbose { warn @_, "\n" if $Verbose }

# "10ms", "2s" and "2" to seconds.

sub parse_time {
    my ($time) = @_;

    return $time if !defined $time || $time !~ /^\s*([\d.]+)\s*(ms|s)\s*$/;
    return $2 eq 'ms' ? $1 / 1000 : $1;
}

# A port for a server to listen on.  It stays bound, without listening, until
# the test ends: nobody else is given it, not even while nginx is down between
# two blocks.  A server can listen on it all the same, as both set SO_REUSEADDR.

sub gen_rand_port {
    my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                       Proto => 'tcp', ReuseAddr => 1)
        or bail_out("cannot find a port to listen on: $@");

    push @Held, $holder;

    return $holder->sockport;
}

# $TEST_NGINX_NAME becomes the environment variable's value, or for
# $TEST_NGINX_RAND_PORT_n a port which is the block's own.

sub expand {
    my ($text, $name) = @_;

    return $text if !defined $text || ref $text;

    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{
        my $var = $1;
        $var =~ /^TEST_NGINX_RAND_PORT_\d+$/
            ? $RandPorts->{$var} //= gen_rand_port()
            : $ENV{$var} // bail_out("$name - $var is not in the environment")
    }eg;

    return $text;
}

# Runs the Perl code of a section.  The real one does it in this package too.

sub eval_perl {
    my ($block, $section, $code) = @_;
    my $name = $block->name;

    my $value = eval $code;
    bail_out("$name - $section failed: $@") if $@;
    return $value;
}

sub use_http2 {
    my ($block) = @_;

    return 0 if !defined $block->http2;

    for my $section (qw( raw_request pipelined_requests )) {
        bail_out($block->name, " - cannot use --- http2 with --- $section")
            if $block->$section;
    }

    return 1;
}

# The server root and its files.
#
# Removes only what it made itself: a TEST_NGINX_SERVROOT set to the wrong
# folder must not cost anybody their files.

sub setup_server_root {
    my ($first_time) = @_;

    if (-d $ServRoot) {
        remove_tree($ConfDir, glob("$ServRoot/*_cache"),
                    glob("$ServRoot/*_temp"));

        if ($UseHup) {
            # nginx is running in here
            my $kept = qr/(?:\bnginx\.pid|\.sock|\.crt|\.key)$/;

            File::Find::find({ no_chdir => 1, wanted => sub {
                unlink if !-d && ($first_time || !/$kept/);
            }}, $ServRoot);

        } else {
            remove_tree("$ServRoot/cache", $HtmlDir, $LogDir);
            rmdir $ServRoot
                or bail_out("cannot remove $ServRoot (not empty?): $!");
        }
    }

    make_path($ServRoot, $LogDir, $HtmlDir, $ConfDir);

    write_file("$HtmlDir/index.html", '<html><head><title>It works!</title>'
               . '</head><body>It works!</body></html>');
}

sub write_file {
    my ($path, $text) = @_;

    open my $out, '>:raw', $path or bail_out("cannot write $path: $!");
    print $out $text;
    close $out or bail_out("cannot write $path: $!");
}

# ">>> name [date]" lines begin a file; or an array of [name, text, date].

sub write_user_files {
    my ($block) = @_;
    my $name = $block->name;
    my $files = $block->user_files or return;

    if (!ref $files) {
        my @files;

        for my $line ($files =~ /^.*\n?/mg) {
            if ($line =~ />>> (\S+)(?:\s+(.+))?/) {
                push @files, [$1, '', $2];

            } elsif (@files) {
                $files[-1][1] .= $line;
            }
        }

        $files = \@files;

    } elsif (ref $files ne 'ARRAY') {
        bail_out("$name - user_files is neither a text nor an array");
    }

    for (@$files) {
        my ($file, $text, $date) = @$_;
        my $path = $file =~ m{^/} ? $file : "$HtmlDir/$file";

        make_path($1) if $path =~ m{(.*)/};
        write_file($path, expand($text // '', $name));

        if ($date) {
            local $ENV{TZ} = 'GMT';
            system('touch', '-t', $date, $path) == 0
                or bail_out("$name - cannot set the date of $path");
        }
    }
}

sub write_config_file {
    my ($block, $config) = @_;
    my $name = $block->name;
    my ($main, $http, $post_main, $error_log)
        = map { expand($block->$_ // '', $name) }
              qw( main_config http_config post_main_config error_log_file );
    my $server_name = $block->server_name // $ServerName;

    # a reload without a master process never starts new workers
    master_on() if $UseHup;

    my $modules = join ' ', map { expand("load_module $_;", $name) }
                            split ' ', $LoadModules;
    my $env = join '', map { "env $_;\n" }
                       qw( LD_PRELOAD LD_LIBRARY_PATH ASAN_OPTIONS ),
                       @EnvToNginx;

    my $temp = join ' ', map { "${_}_temp_path $ServRoot/${_}_temp;" }
                         grep { $http !~ /\b${_}_temp_path\b/
                                && $Build !~ /--without-http_${_}_module/ }
                         qw( client_body proxy fastcgi scgi uwsgi );

    # "listen ... http2" is deprecated where the directive exists
    my $listen = !use_http2($block)           ? "listen $ServerPort;"
                 : $NginxVersion >= 1.025_001 ? "listen $ServerPort; http2 on;"
                 :                              "listen $ServerPort http2;";

    my $root = $NoRootLocation ? '' : <<_END_;
        location / {
            root $HtmlDir;
            index index.html index.htm;
        }
_END_

    # tells when the workers of the new configuration have taken over
    my $probe = !$UseHup ? '' : <<_END_;
    server {
        $listen
        server_name 'Test-Nginx';
        location = /ver {
            return 200 '$ConfigVersion';
        }
    }
_END_

    my $user = defined $WorkerUser ? "user $WorkerUser;"
               : $> == 0           ? 'user root;'
               :                     '';

    $error_log ||= $ErrLogFile;

    write_file($ConfFile, <<_END_);
worker_processes $Workers;
daemon on;
master_process $MasterProcessEnabled;
error_log $error_log $LogLevel;
pid $PidFile;
$env
$modules $main

http {
    access_log $AccLogFile;
    $temp
    default_type text/plain;
    keepalive_timeout 68000ms;

$http
    server {
        $listen
        server_name '$server_name';
        client_max_body_size 30M;

$ConfigPreamble
$config

$root
    }
$probe
}

$post_main

events {
    accept_mutex off;
    worker_connections $WorkerConnections;
}
$user
_END_
}

sub prepare_server_root {
    my ($block, $config, $first_time) = @_;

    $ConfigVersion = join '', map { ('a' .. 'z')[rand 26] } 1 .. 10;

    setup_server_root($first_time);
    eval_perl($block, 'post_setup_server_root', $block->post_setup_server_root)
        if $block->post_setup_server_root;
    write_user_files($block);
    write_config_file($block, $config);
}

# nginx's process.

sub is_running {
    my ($pid) = @_;

    return 0 if !kill 0, $pid;

    # a zombie whose parent does not reap it is gone as far as we care
    open my $stat, '<', "/proc/$pid/stat" or return 1;
    return (<$stat> // '') !~ /\) Z /;
}

sub nginx_is_alive { return defined $NginxPid && is_running($NginxPid) }

# The pid in the pid file, if that is an nginx: a stale file may name a
# process which took the number since.

sub running_nginx {
    open my $in, '<', $PidFile or return;
    my ($pid) = (<$in> // '') =~ /^(\d+)/ or return;

    return if !is_running($pid);

    if (open my $cmd, '<', "/proc/$pid/cmdline") {
        return if (<$cmd> // '') !~ /nginx/;
    }

    return $pid;
}

sub stop_process {
    my ($pid, $signal) = @_;

    kill $signal, $pid;

    for (my $left = $Timeout; $left > 0; $left -= 0.01) {
        waitpid $pid, POSIX::WNOHANG();
        return 1 if !is_running($pid);
        sleep 0.01;
    }

    return 0;
}

sub stop_nginx {
    my ($pid) = @_;
    my $signal = $ENV{TEST_NGINX_FAST_SHUTDOWN} ? 'TERM' : 'QUIT';

    note_verbose("sending $signal to nginx, pid $pid");

    if (!stop_process($pid, $signal)) {
        warn "nginx, pid $pid, did not exit after $signal, killing it\n";
        kill 'KILL', $pid;
    }

    # a daemon leads a process group: workers that outlived their master
    kill 'KILL', -$pid if $pid != getpgrp 0;

    for (1 .. 100) {
        last if !is_running($pid);
        sleep 0.02;
    }

    unlink $PidFile;
    undef $NginxPid;
}

# Runs nginx, which becomes a daemon once it listens; returns the wait status.

sub launch_nginx {
    my ($block) = @_;
    my $cmd = "$NginxBinary -e $ErrLogFile -p $ServRoot/ -c $ConfFile"
              . ' > /dev/null';

    $cmd .= ' 2> /dev/null' if defined $block->suppress_stderr;
    note_verbose("running $cmd");

    system $cmd;
    my $status = $?;

    if ($status == 0) {
        # written by the daemon, which the command does not wait for
        for (1 .. 100) {
            last if defined ($NginxPid = running_nginx());
            sleep 0.01;
        }
    }

    return $status;
}

sub start_nginx {
    my ($block) = @_;
    my $name = $block->name;
    my ($status, @why);

    bail_out("$name - cannot run $NginxBinary -V") if !defined $NginxVersion;

    for (1 .. 5) {
        $ErrLogFilePos = 0;
        $status = launch_nginx($block);

        if ($status == 0) {
            sleep $TestNginxSleep;
            return;
        }

        # the port may still be somebody's, nothing else gets better
        @why = grep { /\[emerg\]/ } @{ error_log_data() };
        last if !grep { /bind\(\) to .* failed/ } @why;
    }

    bail_out("$name - cannot start nginx (status $status)\n", @why);
}

sub reload_nginx {
    my ($block, $pid) = @_;
    my $name = $block->name;

    kill 'USR1', $pid;
    sleep $TestNginxSleep;
    kill 'HUP', $pid;
    sleep $TestNginxSleep * 3;

    if (defined $block->reload_fails) {
        sleep 0.3;
        return;
    }

    # Twenty in a row, since old workers may answer in between.
    my $in_row = 0;

    for (my $left = 20; $left > 0; $left -= $TestNginxSleep) {
        my ($version) = curl('-s', '-H', 'Host: Test-Nginx',
                             '--connect-timeout', 2,
                             use_http2($block) ? '--http2-prior-knowledge' : (),
                             "http://$ServerAddr:$ServerPort/ver");

        if ($version ne $ConfigVersion) {
            $in_row = 0;
            sleep $TestNginxSleep * 4;
            next;
        }

        return if ++$in_row == 20;
    }

    Test::More->builder->no_ending(1);
    Test::More::fail("$name - failed to reload configuration");
}

# Runs curl; returns what it wrote to stdout and to stderr.

sub curl {
    my @args = @_;

    note_verbose("running curl @args");

    open my $out, '+>:raw', undef or bail_out("cannot make a file: $!");
    open my $err, '+>:raw', undef or bail_out("cannot make a file: $!");

    my $pid = fork // bail_out("fork() failed: $!");

    if ($pid == 0) {
        open STDOUT, '>&', $out;
        open STDERR, '>&', $err;
        { no warnings 'exec'; exec 'curl', @args }
        print STDERR "cannot run curl: $!\n";
        POSIX::_exit(127);
    }

    waitpid $pid, 0;

    local $/;
    return map { seek $_, 0, 0; <$_> // '' } $out, $err;
}

# The exchange with --- http2: nginx speaks it without TLS, curl speaks it.
# The request is the text that would have gone over HTTP/1.

sub curl_exchange {
    my ($block, $request) = @_;
    my $name = $block->name;
    my $timeout = $block->timeout || $Timeout;
    my $addr = $block->server_addr_for_client // $ServerAddr;

    my ($method, $uri, $version, $headers, $body)
        = $request =~ m{^(\w+) (\S+) HTTP/(\S+)\r\n(.*?)\r\n\r\n(.*)\z}s
        or bail_out("$name - curl cannot send this request: $request");

    # nothing is sent that the block did not ask for
    my @args = ('-i', '-sS', '--http2-prior-knowledge',
                map { ('-H', $_) } 'User-Agent:', 'Accept:', 'Host:',
                                   grep { !/^Connection\s*:/i }
                                   split /\r\n/, $headers);

    push @args, $method eq 'HEAD' ? '-I'
                : $method eq 'GET' ? ()
                :                    ('-X', $method);
    push @args, '-0' if $version ne '1.1';

    if ($body ne '') {
        push @args, '-H', 'Content-Type: ' if $headers !~ /^Content-Type\s*:/mi;
        push @args, '--data-binary', "\@$HtmlDir/curl.data.bin";
        write_file("$HtmlDir/curl.data.bin", $body);
    }

    push @args, '--connect-timeout', $timeout, '--max-time', $timeout;
    push @args, $block->curl_options if defined $block->curl_options;

    my ($out, $err)
        = curl(@args, "http://$addr:$ServerPortForClient$uri");

    if ($out ne '') {
        warn "WARNING: $name - curl: $err" if $err ne '';
        return $out;
    }

    my $expected = $block->curl_error;

    if (!defined $expected
        || $err !~ (ref $expected ? $expected : qr/\Q$expected\E/))
    {
        Test::More::fail("$name - curl wrote no response: $err");
    }

    return '';
}

# Logs.  A request is logged after its last byte has been sent: wait for that.

sub access_log_data {
    sleep $TestNginxSleep * 3;

    open my $in, '<', $AccLogFile or die "cannot open $AccLogFile: $!";
    return [<$in>];
}

sub error_log_data {
    sleep $TestNginxSleep * 3;

    open my $in, '<', $ErrLogFile or return [];
    seek $in, $ErrLogFilePos, 0 if !$CheckAccumErrLog;

    my @lines = <$in>;
    $ErrLogFilePos = tell $in if !$CheckAccumErrLog;

    return \@lines;
}

# The end, whichever way it came.

sub cleanup {
    while (my $handler = shift @CleanupHandlers) {
        $handler->();
    }
}

for my $signal (qw( INT TERM HUP )) {
    $SIG{$signal} = sub { exit 1 };    # so that END runs
}

END {
    if ($$ == $Owner) {
        local ($?, $@);

        cleanup();

        if (!$ENV{TEST_NGINX_NO_CLEAN}) {
            stop_nginx($_) for grep { defined } running_nginx();
            stop_nginx($NginxPid) if nginx_is_alive();
        }

        $AtEnd->() if $AtEnd;

        remove_tree($ServRoot) if $Randomize && -d $ServRoot;
    }
}

1;
