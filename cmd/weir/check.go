package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/peterbourgon/ff/v3"

	"weir/proxy/admin"
)

// check asks a running node whether it is ready: the health check of containers
// and of keepalived.
func check(ctx context.Context, in invocation) error {
	fs := flag.NewFlagSet("weir check", flag.ContinueOnError)
	fs.SetOutput(in.stderr)
	o := admin.Flags(fs)
	fs.Usage = func() { usage(fs) }
	if err := ff.Parse(fs, in.args, ff.WithEnvVarPrefix("WEIR")); err != nil {
		return err
	}
	if err := admin.Check(ctx, o.Addr, o.Token); err != nil {
		return err
	}
	fmt.Fprintln(in.stdout, "ready")
	return nil
}
