// kafka-go with the verbs of ../README.md: its Writer, its reader of a partition and its Conn.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

const limit = 20_000_000

func main() {
	log.SetFlags(0)
	arguments := os.Args[2:]
	broker := arguments[0]
	switch os.Args[1] {
	case "create":
		create(broker, number(arguments[1]), arguments[2], arguments[3:])
	case "write":
		write(broker, arguments[1], arguments[2:])
	case "read":
		read(broker, arguments[1:])
	case "bulk-write":
		bulkWrite(broker, arguments[1], number(arguments[2]), number(arguments[3]), number(arguments[4]))
	case "bulk-read":
		bulkRead(broker, arguments[1], number(arguments[2]), number(arguments[3]), number(arguments[4]))
	}
}

func create(broker string, partitions int, configs string, topics []string) {
	conn, err := kafka.Dial("tcp", broker)
	check(err)
	defer conn.Close()
	var entries []kafka.ConfigEntry
	for _, pair := range strings.Split(configs, ",") {
		if name, value, found := strings.Cut(pair, "="); found {
			entries = append(entries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
	}
	for _, topic := range topics {
		check(conn.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}))
	}
}

func write(broker, path string, topics []string) {
	for _, pair := range topics {
		topic, codec, _ := strings.Cut(pair, ":")
		file, err := os.Open(path)
		check(err)
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 4*limit)
		var messages []kafka.Message
		for lines.Scan() {
			messages = append(messages, message(lines.Text()))
		}
		check(lines.Err())
		codecs := map[string]compress.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
		produce(broker, topic, codecs[codec], messages)
	}
}

func bulkWrite(broker, topic string, partitions, count, size int) {
	padding := strings.Repeat("x", size-10)
	var messages []kafka.Message
	for n := 0; n < count; n++ {
		for p := 0; p < partitions; p++ {
			// The balancer below takes the partition from the field that it would fill.
			messages = append(messages, kafka.Message{Partition: p, Value: []byte(fmt.Sprintf("%010d%s", n, padding))})
		}
	}
	produce(broker, topic, 0, messages)
}

func produce(broker, topic string, codec compress.Compression, messages []kafka.Message) {
	balancer := kafka.BalancerFunc(func(message kafka.Message, _ ...int) int { return message.Partition })
	writer := &kafka.Writer{
		Addr: kafka.TCP(broker), Topic: topic, Balancer: balancer, RequiredAcks: kafka.RequireAll,
		Compression: codec, BatchBytes: limit, BatchSize: 1000, BatchTimeout: 20 * time.Millisecond,
	}
	check(writer.WriteMessages(context.Background(), messages...))
	check(writer.Close())
}

func read(broker string, topics []string) {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, topic := range topics {
		fmt.Fprintf(out, "> %s\n", topic)
		messages(broker, topic, 0, limit, func(m kafka.Message) {
			var headers []string
			for _, header := range m.Headers {
				headers = append(headers, header.Key+"="+text(header.Value))
			}
			fmt.Fprintf(out, "%d\t%s\t%s\t%s\n", m.Time.UnixMilli(), text(m.Key), text(m.Value), strings.Join(headers, ","))
		})
	}
}

// Each partition has a reader of its own; some at a time, because closing one takes a while.
func bulkRead(broker, topic string, partitions, count, most int) {
	var all sync.WaitGroup
	running := make(chan struct{}, 50)
	for p := 0; p < partitions; p++ {
		all.Add(1)
		running <- struct{}{}
		go func(p int) {
			defer func() { <-running; all.Done() }()
			seen := 0
			messages(broker, topic, p, most, func(m kafka.Message) {
				if n := number(string(m.Value[:10])); n != seen {
					log.Fatalf("partition %d: %d instead of %d", p, n, seen)
				}
				seen++
			})
			if seen != count {
				log.Fatalf("partition %d: read %d of %d", p, seen, count)
			}
		}(p)
	}
	all.Wait()
	fmt.Println(partitions * count)
}

func messages(broker, topic string, partition, most int, each func(kafka.Message)) {
	ctx, cancel := context.WithTimeout(context.Background(), 180*time.Second)
	defer cancel()
	conn, err := kafka.DialLeader(ctx, "tcp", broker, topic, partition)
	check(err)
	_, end, err := conn.ReadOffsets()
	check(err)
	conn.Close()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, Partition: partition, MinBytes: 1, MaxBytes: most,
		MaxWait: 500 * time.Millisecond, ReadBackoffMin: time.Millisecond,
	})
	defer reader.Close()
	check(reader.SetOffset(kafka.FirstOffset))
	for next := int64(0); next < end; {
		m, err := reader.ReadMessage(ctx)
		check(err)
		each(m)
		next = m.Offset + 1
	}
}

func message(line string) kafka.Message {
	field := strings.Split(line, "\t")
	m := kafka.Message{Time: time.UnixMilli(int64(number(field[0]))), Key: unhex(field[1]), Value: unhex(field[2])}
	for _, header := range strings.Split(field[3], ",") {
		if name, value, found := strings.Cut(header, "="); found {
			m.Headers = append(m.Headers, kafka.Header{Key: name, Value: unhex(value)})
		}
	}
	return m
}

func text(bytes []byte) string {
	if bytes == nil {
		return "-"
	}
	if len(bytes) > 1024 {
		return fmt.Sprintf("#%d:%08x", len(bytes), crc32.ChecksumIEEE(bytes))
	}
	return hex.EncodeToString(bytes)
}

func unhex(field string) []byte {
	if field == "-" {
		return nil
	}
	bytes, err := hex.DecodeString(field)
	check(err)
	return bytes
}

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
