// Command weir is a streaming edge: it stands between audio/video viewers and
// origin servers. Without a subcommand it is an edge node; see the README, and
// weir -h for the flags.
//
// This package alone knows the names of all parts: it reads the flags, builds
// the ladder, runs the parts, and takes them down in order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.uber.org/zap"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitTwice  = 130 // a second signal
)

// errUsage is wrapped by errors of a command line that cannot be read.
var errUsage = errors.New("-h tells the flags")

func main() { os.Exit(run()) }

// run is main with an exit code, for scripts that run it in tests.
func run() int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	args, cmd := os.Args[1:], serve
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name := args[0]
		if args, cmd = args[1:], commands()[name]; cmd == nil {
			fmt.Fprintf(os.Stderr, "weir: no command %q; there are agent, demo, check, load, purge, warm and sign, and weir alone is the edge (-h tells its flags)\n", name)
			return exitUsage
		}
	}
	err := cmd(context.Background(), invocation{args, signals, os.Stdout, os.Stderr})
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errTwice):
		return exitTwice
	}
	fmt.Fprintf(os.Stderr, "weir: %v\n", err)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

// An invocation is what a command is given.
type invocation struct {
	args           []string
	signals        <-chan os.Signal
	stdout, stderr io.Writer
}

// A command is one of weir's.
type command func(context.Context, invocation) error

func commands() map[string]command {
	return map[string]command{"agent": agentCommand, "demo": demo, "check": check, "load": loadCommand, "purge": purgeCommand, "warm": warmCommand, "sign": signCommand}
}

// serve is the edge node.
func serve(ctx context.Context, in invocation) error {
	c := newConfig("weir", in.stderr)
	if err := c.parse(in.args); err != nil {
		return err
	}
	if c.version {
		fmt.Fprintln(in.stdout, versionLine())
		return nil
	}
	log, level := c.logger(in.stderr)
	if strays := c.strays(os.Environ()); len(strays) > 0 {
		log.Warn("no flag is named as these variables are", zap.Strings("environment", strays))
	}
	n, err := newNode(c, log, level)
	if err != nil {
		return err
	}
	return n.run(ctx, in.signals)
}
