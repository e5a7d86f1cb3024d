package cache

import (
	"errors"
	"os"
)

var (
	errUnwritable = errors.New("no room for what is known of an object") // now or later
	errNotNow     = errors.New("not now")
)

// renew writes an object's newest meta into its first file. buf is as in write. Where that is not
// possible the file goes, and it is the next one's turn: what is left would be an object as it
// once was.
func (d *disk) renew(o *diskObject, buf []byte) []byte {
	f := d.pick(o)
	if f == nil {
		return buf
	}
	h, buf, err := d.head(f, f.sum, buf)
	if err != nil {
		err = errors.Join(errUnwritable, err)
	} else {
		err = d.rewrite(f, &h, buf)
	}
	switch {
	case err == nil:
		d.rewritten(f, &h)
	case errors.Is(err, errNotNow):
	case isLost(err), errors.Is(err, errUnwritable):
		d.faults.count(err)
		d.mu.Lock()
		d.kill(f, true)
		d.mu.Unlock()
	default:
		d.pause(err)
	}
	d.release(f) // if it is still as it was, it is the object's turn again after the pause
	return buf
}

// pick returns the file to write an object's meta into, busy; nil if there is none, or no need.
func (d *disk) pick(o *diskObject) *diskFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	o.stale = false
	if o.current > 0 {
		return nil
	}
	f := o.lowest()
	if f != nil {
		f.busy = true
	}
	return f
}

// rewritten says that a file has another head now.
func (d *disk) rewritten(f *diskFile, h *diskHead) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.revision, f.at = h.revision, h.at
	if f.live() && f.revision == f.object.revision {
		f.object.current++
	}
}

// rewrite gives a file another head: in place if one block holds it, which no dying process
// leaves half written; else in a new file.
func (d *disk) rewrite(f *diskFile, h *diskHead, head []byte) error {
	if len(head) > diskBlock || f.at != diskBlock {
		return d.move(f, h, head)
	}
	file, err := os.OpenFile(d.path(f.name()), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(head, 0)
	return errors.Join(err, file.Close())
}

// move writes a file with another head in the place of the one that is there. Both are there for a moment.
func (d *disk) move(f *diskFile, h *diskHead, head []byte) error {
	body := make([]byte, f.length)
	if err := d.readFile(f, body); err != nil {
		return err
	}
	old := f.weight
	defer func() { d.makeRoom(f, f.weight) }() // one of them only
	if d.makeRoom(f, old+h.size()) > 1 {
		return errUnwritable
	}
	if !d.reserve(f, h.size()) {
		return d.whyNot(f)
	}
	if err := d.create(h, head, body); err != nil {
		d.unreserve(f, h.size())
		return err
	}
	d.unreserve(f, old)
	return nil
}

// whyNot tells whether it is worth trying again what reserve has refused. It is not when the end
// has come before the folder was read.
func (d *disk) whyNot(f *diskFile) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.dying || d.stuck() {
		return errNotNow
	}
	return errUnwritable
}
