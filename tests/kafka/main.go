// A broker for the tests: franz-go's own fake of Kafka, in memory, on the given loopback port, with
// the topics of deploy/scaled. It says when it is ready, and runs until it is ended.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err == nil {
		_, err = kfake.NewCluster(
			kfake.Ports(port),
			kfake.SeedTopics(4, "mpr-spans", "mpr-agents", "mpr-events"),
		)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}
