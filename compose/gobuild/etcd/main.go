// Command etcd is the store of the practice cluster: the upstream server with its own flags.
//
// The upstream main module cannot be built from outside its repository, so this one calls the same entry point.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
