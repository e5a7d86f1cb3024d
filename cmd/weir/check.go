package main

import (
	"context"
	"fmt"

	"weir/proxy/admin"
)

// check asks a running node whether it is ready: the health check of containers
// and of keepalived.
func check(ctx context.Context, in invocation) error {
	c := newConfig("weir check", in.stderr) // the node's own flags: its file and environment say where the door is
	if err := c.parse(in.args); err != nil {
		return err
	}
	if err := admin.Check(ctx, c.admin.Addr, c.admin.Token); err != nil {
		return err
	}
	fmt.Fprintln(in.stdout, "ready")
	return nil
}
