// franz-go with the verbs of ../README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	log.SetFlags(0)
	broker := os.Args[2]
	switch a := os.Args[3:]; os.Args[1] {
	case "produce":
		produce(broker, a[0], number(a[1]), number(a[2]))
	case "member":
		member(broker, a[0], a[1], a[2])
	case "copy":
		copyAll(broker, a[0], a[1], a[2], a[3], a[4])
	case "committed":
		committed(broker, a[0])
	}
}

func produce(broker, topic string, from, count int) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(topic))
	check(err)
	defer client.Close()
	var records []*kgo.Record
	for n := from; n < from+count; n++ {
		records = append(records, &kgo.Record{Key: []byte(fmt.Sprintf("key-%d", n%100)), Value: []byte(strconv.Itoa(n))})
	}
	check(client.ProduceSync(context.Background(), records...).FirstErr())
}

// What all members of groups want.
func options(ctx context.Context, broker, group, topic, protocol string) []kgo.Opt {
	owned := map[int32]bool{}
	changed := func(to bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			for _, part := range parts[topic] {
				if to {
					owned[part] = true
				} else {
					delete(owned, part)
				}
			}
			var numbers []int
			for part := range owned {
				numbers = append(numbers, int(part))
			}
			sort.Ints(numbers)
			words := []any{"owns"}
			for _, part := range numbers {
				words = append(words, part)
			}
			fmt.Println(words...)
		}
	}
	if protocol == "consumer" {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	}
	return []kgo.Opt{
		kgo.SeedBrokers(broker), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.RequireStableFetchOffsets(), kgo.WithContext(ctx),
		kgo.OnPartitionsAssigned(changed(true)), kgo.OnPartitionsRevoked(changed(false)), kgo.OnPartitionsLost(changed(false)),
	}
}

func ending() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	return ctx
}

func member(broker, group, topic, protocol string) {
	over := ending()
	opts := options(context.Background(), broker, group, topic, protocol)
	client, err := kgo.NewClient(append(opts, kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())...)
	check(err)
	for over.Err() == nil {
		fetches := client.PollFetches(over)
		fetches.EachError(func(_ string, _ int32, err error) { complain(over, err) })
		fetches.EachRecord(show)
		if fetches.NumRecords() > 0 {
			if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
}

func copyAll(broker, group, from, to, id, protocol string) {
	over := ending()
	opts := options(context.Background(), broker, group, from, protocol)
	session, err := kgo.NewGroupTransactSession(append(opts, kgo.TransactionalID(id), kgo.DefaultProduceTopic(to))...)
	check(err)
	// An aborted transaction gives its records again.
	for number := 0; over.Err() == nil; number++ {
		fetches := session.PollFetches(over)
		fetches.EachError(func(_ string, _ int32, err error) { complain(over, err) })
		if fetches.NumRecords() == 0 {
			number--
			continue
		}
		check(session.Begin())
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(context.Background(), &kgo.Record{Key: r.Key, Value: r.Value}, func(_ *kgo.Record, err error) {
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			})
		})
		// An abort would drop what is still on its way, and nothing would have been written.
		check(session.Client().Flush(context.Background()))
		committed, err := session.End(context.Background(), kgo.TransactionEndTry(number%3 != 0))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		if committed {
			fetches.EachRecord(show)
		}
	}
	session.Close()
}

func committed(broker, topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	check(err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	check(err)
	starts := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			starts[end.Partition] = kgo.NewOffset().AtStart()
			left[end.Partition] = end.Offset
		}
	})
	reader, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(100*time.Millisecond))
	check(err)
	defer reader.Close()
	// Control records are kept, so that the last offset of each partition is seen.
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		check(ctx.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				show(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
}

func complain(over context.Context, err error) {
	if over.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func show(r *kgo.Record) { fmt.Println(r.Partition, r.Offset, string(r.Key), string(r.Value)) }

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
