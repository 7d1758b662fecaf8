// kafka-go with the verbs of ../README.md, as its readers know it: kafka.NewWriter and kafka.NewReader with a GroupID.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	log.SetFlags(0)
	broker := os.Args[2]
	switch a := os.Args[3:]; os.Args[1] {
	case "produce":
		produce(broker, a[0], number(a[1]), number(a[2]))
	case "member":
		member(broker, a[0], a[1])
	case "committed":
		committed(broker, a[0])
	default:
		log.Fatalf("kafka-go does not know how to %s", os.Args[1])
	}
}

func produce(broker, topic string, from, count int) {
	writer := kafka.NewWriter(kafka.WriterConfig{
		Brokers: []string{broker}, Topic: topic, Balancer: &kafka.Hash{}, RequiredAcks: -1, BatchTimeout: 10 * time.Millisecond,
	})
	var messages []kafka.Message
	for n := from; n < from+count; n++ {
		messages = append(messages, kafka.Message{Key: []byte(fmt.Sprintf("key-%d", n%100)), Value: []byte(strconv.Itoa(n))})
	}
	check(writer.WriteMessages(context.Background(), messages...))
	check(writer.Close())
}

func member(broker, group, topic string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, GroupID: group, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
		ErrorLogger: kafka.LoggerFunc(func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }),
	})
	for {
		// Commits what it gave before it gives more.
		m, err := reader.ReadMessage(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		show(m)
	}
	check(reader.Close())
}

func committed(broker, topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := kafka.DialContext(ctx, "tcp", broker)
	check(err)
	parts, err := conn.ReadPartitions(topic)
	check(err)
	for _, part := range parts {
		leader, err := kafka.DialLeader(ctx, "tcp", broker, topic, part.ID)
		check(err)
		first, end, err := leader.ReadOffsets()
		check(err)
		leader.Close()
		if first == end {
			continue
		}
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{broker}, Topic: topic, Partition: part.ID, MaxWait: 100 * time.Millisecond, IsolationLevel: kafka.ReadCommitted,
		})
		for next := first; next < end; {
			// The end may be a marker, which is not given to anybody.
			short, stop := context.WithTimeout(ctx, 3*time.Second)
			m, err := reader.ReadMessage(short)
			stop()
			if err != nil {
				break
			}
			show(m)
			next = m.Offset + 1
		}
		reader.Close()
	}
}

func show(m kafka.Message) { fmt.Println(m.Partition, m.Offset, string(m.Key), string(m.Value)) }

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
