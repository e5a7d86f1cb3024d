package front

import (
	"fmt"
	"net/netip"
	"strings"
)

// Prefixes is a flag that collects prefixes of addresses, as 10.0.0.0/8, and
// single addresses: repeated, or with commas between them.
type Prefixes []netip.Prefix

// Set implements flag.Value.
func (p *Prefixes) Set(s string) error {
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		one, err := netip.ParsePrefix(word)
		if a, addrErr := netip.ParseAddr(word); addrErr == nil {
			one, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if a := one.Addr(); a.Is4In6() && one.Bits() >= 96 { // viewers' addresses are never written so
			one = netip.PrefixFrom(a.Unmap(), one.Bits()-96)
		}
		if err != nil {
			return fmt.Errorf("%q is neither an address nor a prefix like 10.0.0.0/8", word)
		}
		*p = append(*p, one.Masked())
	}
	return nil
}

// String implements flag.Value.
func (p *Prefixes) String() string {
	var words []string
	for _, one := range *p {
		words = append(words, one.String())
	}
	return strings.Join(words, ",")
}

func (p Prefixes) contain(a netip.Addr) bool {
	for _, one := range p {
		if one.Contains(a) {
			return true
		}
	}
	return false
}
