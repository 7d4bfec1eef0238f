using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Text;
using System.Threading.Channels;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>
/// The record of every purchase request of a run, in a file. The promises are judged against it. Callers encode into a
/// shared buffer, and one writer at a time takes full buffers to the disk. Memory is bounded: while the disk is 64 MB
/// behind, callers wait for it.
/// </summary>
/// <remarks>
/// The file is "FSHIST1\n", then per record a length (2 bytes, big-endian) and
/// started (8) | ended (8) | status (2) | replay (1) | quantity (4) | order id (16) | body hash (8) | user, key, sku,
/// code: length (1) + UTF-8 each.
/// The file ends with a length of 0 and the number of records (8). So a reader tells a history that was cut off from a
/// whole one.
/// </remarks>
public sealed class History : IAsyncDisposable
{
    private const int BufferBytes = 1 << 20;
    private const int MostBuffers = 64;
    private const int HeadBytes = 47;
    private const int MostBytes = 2 + HeadBytes + 4 * 256;

    private readonly Lock _sync = new();
    private readonly ConcurrentBag<byte[]> _free = [];
    private readonly SemaphoreSlim _buffers = new(MostBuffers - 1);
    private readonly Channel<(byte[] Buffer, int Length)> _full = Channel.CreateUnbounded<(byte[], int)>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Task _writing;
    private byte[] _buffer = new byte[BufferBytes];
    private int _length;
    private long _count;
    private bool _closed;

    private History(string path)
    {
        Path = path;
        Magic.CopyTo(_buffer);
        _length = Magic.Length;
        var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0, useAsync: true);
        _writing = Task.Run(() => WriteAsync(file));
    }

    private static ReadOnlySpan<byte> Magic => "FSHIST1\n"u8;

    /// <summary>Path of the file.</summary>
    public string Path { get; }

    /// <summary>Number of records so far.</summary>
    public long Count => Interlocked.Read(ref _count);

    /// <summary>Begins a history. It replaces a file of that name.</summary>
    public static History Create(string path) => new(path);

    /// <summary>
    /// Adds an answer. Any number of threads may call it. An answer that a shopper acts upon is added before the
    /// shopper acts.
    /// </summary>
    /// <exception cref="InvalidOperationException">The history is closed.</exception>
    public void Add(in Told told)
    {
        lock (_sync)
        {
            if (_closed) throw new InvalidOperationException($"The history {Path} is closed.");
            if (_length + MostBytes > BufferBytes) HandOver();
            _length += Encode(told, _buffer.AsSpan(_length));
            _count++;
        }
    }

    /// <summary>Reads a history from its beginning to its end.</summary>
    /// <exception cref="InvalidDataException">The file is not a whole history.</exception>
    public static IEnumerable<Told> Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, BufferBytes);
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        var record = new byte[MostBytes];
        Fill(file, record, Magic.Length, path);
        if (!record.AsSpan(0, Magic.Length).SequenceEqual(Magic)) throw new InvalidDataException($"{path} is not a history.");
        for (long count = 0; ; count++)
        {
            Fill(file, record, 2, path);
            var length = BinaryPrimitives.ReadUInt16BigEndian(record);
            if (length == 0)
            {
                Fill(file, record, 8, path);
                if (BinaryPrimitives.ReadInt64BigEndian(record) != count) throw new InvalidDataException($"{path} has {count} records and says that it has {BinaryPrimitives.ReadInt64BigEndian(record)}.");
                yield break;
            }
            Fill(file, record, length, path);
            yield return Decode(record.AsSpan(0, length), names);
        }
    }

    /// <summary>Writes the remaining records and the end of the file.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_sync)
        {
            if (_closed) return;
            _closed = true;
            if (_length + 10 > BufferBytes) HandOver();
            BinaryPrimitives.WriteUInt16BigEndian(_buffer.AsSpan(_length), 0);
            BinaryPrimitives.WriteInt64BigEndian(_buffer.AsSpan(_length + 2), _count);
            _full.Writer.TryWrite((_buffer, _length + 10));
            _full.Writer.Complete();
        }
        await _writing;
        _buffers.Dispose();
    }

    private void HandOver()
    {
        // Only the disk can make room. A writer that has failed never will, so its failure is thrown here.
        while (!_buffers.Wait(TimeSpan.FromSeconds(1)))
        {
            if (_writing.IsCompleted) throw new IOException($"The history {Path} cannot be written.", _writing.Exception);
        }
        _full.Writer.TryWrite((_buffer, _length));
        _buffer = _free.TryTake(out var used) ? used : new byte[BufferBytes];
        _length = 0;
    }

    private async Task WriteAsync(FileStream file)
    {
        await using (file)
        {
            await foreach (var (buffer, length) in _full.Reader.ReadAllAsync())
            {
                await file.WriteAsync(buffer.AsMemory(0, length));
                _free.Add(buffer);
                _buffers.Release();
            }
        }
    }

    private static int Encode(in Told told, Span<byte> to)
    {
        var record = to[2..];
        BinaryPrimitives.WriteInt64BigEndian(record, told.StartedMicroseconds);
        BinaryPrimitives.WriteInt64BigEndian(record[8..], told.EndedMicroseconds);
        BinaryPrimitives.WriteInt16BigEndian(record[16..], checked((short)told.Status));
        record[18] = told.IsReplay ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteInt32BigEndian(record[19..], told.Quantity);
        told.OrderId.TryWriteBytes(record[23..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt64BigEndian(record[39..], told.BodyHash);
        var length = HeadBytes;
        length += EncodeText(told.UserId, record[length..]);
        length += EncodeText(told.Key, record[length..]);
        length += EncodeText(told.Sku, record[length..]);
        length += EncodeText(told.Code, record[length..]);
        BinaryPrimitives.WriteUInt16BigEndian(to, (ushort)length);
        return length + 2;
    }

    private static int EncodeText(string text, Span<byte> to)
    {
        var length = Encoding.UTF8.GetBytes(text, to.Slice(1, Math.Min(255, to.Length - 1)));
        to[0] = (byte)length;
        return length + 1;
    }

    private static Told Decode(ReadOnlySpan<byte> record, Dictionary<string, string> names)
    {
        var texts = record[HeadBytes..];
        var user = DecodeText(ref texts);
        var key = DecodeText(ref texts);
        var sku = Shared(DecodeText(ref texts), names);
        var code = Shared(DecodeText(ref texts), names);
        return new Told(
            BinaryPrimitives.ReadInt64BigEndian(record), BinaryPrimitives.ReadInt64BigEndian(record[8..]), user, key, sku, BinaryPrimitives.ReadInt32BigEndian(record[19..]),
            BinaryPrimitives.ReadInt16BigEndian(record[16..]), code, new Guid(record.Slice(23, 16), bigEndian: true), record[18] == 1, BinaryPrimitives.ReadUInt64BigEndian(record[39..]));
    }

    private static string DecodeText(ref ReadOnlySpan<byte> texts)
    {
        var text = Encoding.UTF8.GetString(texts.Slice(1, texts[0]));
        texts = texts[(texts[0] + 1)..];
        return text;
    }

    // There are few different skus and codes in many records, so they share their strings.
    private static string Shared(string text, Dictionary<string, string> names)
    {
        if (names.TryGetValue(text, out var known)) return known;
        names[text] = text;
        return text;
    }

    private static void Fill(FileStream file, byte[] record, int length, string path)
    {
        if (file.ReadAtLeast(record.AsSpan(0, length), length, throwOnEndOfStream: false) < length) throw new InvalidDataException($"{path} was cut off: its run did not come to its end.");
    }
}
