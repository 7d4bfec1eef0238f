using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>An error that Redis answered.</summary>
public sealed class RedisErrorException(string message) : Exception(message);

/// <summary>
/// Speaks to Redis without the product's client, so that what a judge sees does not pass through what is judged.
/// Connects anew after any failure. Answers are byte[], long, object?[] or null.
/// </summary>
/// <param name="endpoint">host:port.</param>
/// <param name="password">Null where Redis asks for none.</param>
public sealed class RedisClient(string endpoint, string? password = null) : IAsyncDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly SemaphoreSlim _turn = new(1, 1);
    private TcpClient? _connection;
    private BufferedStream? _stream;

    /// <summary>Sends a command of strings, numbers and byte arrays.</summary>
    public async Task<object?> CallAsync(params object[] command)
    {
        await _turn.WaitAsync();
        try
        {
            using var timeout = new CancellationTokenSource(Deadline);
            if (_stream is null) await ConnectAsync(timeout.Token);
            return await AskAsync(command, timeout.Token);
        }
        catch (Exception e) when (e is not RedisErrorException)
        {
            Disconnect();
            throw;
        }
        finally
        {
            _turn.Release();
        }
    }

    public async Task<long> NumberAsync(params object[] command) => await CallAsync(command) switch
    {
        long number => number,
        byte[] text => long.Parse(Encoding.ASCII.GetString(text), CultureInfo.InvariantCulture),
        null => 0,
        var other => throw new InvalidOperationException($"Redis answered {other}"),
    };

    public async Task<string?> TextAsync(params object[] command) => await CallAsync(command) is byte[] text ? Encoding.UTF8.GetString(text) : null;

    public async Task<IReadOnlyList<object?>> ListAsync(params object[] command) => (object?[]?)await CallAsync(command) ?? [];

    /// <summary>HGETALL with its fields and values as bytes.</summary>
    public async Task<IReadOnlyList<(byte[] Field, byte[] Value)>> HashAsync(string key)
    {
        var flat = await ListAsync("HGETALL", key);
        return [.. Enumerable.Range(0, flat.Count / 2).Select(i => ((byte[])flat[2 * i]!, (byte[])flat[2 * i + 1]!))];
    }

    /// <summary>A hash of numbers.</summary>
    public async Task<IReadOnlyDictionary<string, long>> NumbersAsync(string key) =>
        (await HashAsync(key)).ToDictionary(pair => Encoding.UTF8.GetString(pair.Field), pair => long.Parse(Encoding.ASCII.GetString(pair.Value), CultureInfo.InvariantCulture), StringComparer.Ordinal);

    public ValueTask DisposeAsync()
    {
        Disconnect();
        _turn.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task ConnectAsync(CancellationToken cancellation)
    {
        var colon = endpoint.LastIndexOf(':');
        _connection = new TcpClient { NoDelay = true };
        await _connection.ConnectAsync(endpoint[..colon], int.Parse(endpoint[(colon + 1)..], CultureInfo.InvariantCulture), cancellation);
        _stream = new BufferedStream(_connection.GetStream(), 64 * 1024);
        if (password is not null) await AskAsync(["AUTH", password], cancellation);
    }

    private async Task<object?> AskAsync(object[] command, CancellationToken cancellation)
    {
        await _stream!.WriteAsync(Encode(command), cancellation);
        await _stream.FlushAsync(cancellation);
        return await ReadAsync(_stream, cancellation);
    }

    private void Disconnect()
    {
        _stream?.Dispose();
        _connection?.Dispose();
        _stream = null;
        _connection = null;
    }

    private static byte[] Encode(object[] command)
    {
        using var bytes = new MemoryStream();
        bytes.Write(Encoding.ASCII.GetBytes($"*{command.Length}\r\n"));
        foreach (var part in command)
        {
            var value = part as byte[] ?? Encoding.UTF8.GetBytes(Convert.ToString(part, CultureInfo.InvariantCulture)!);
            bytes.Write(Encoding.ASCII.GetBytes($"${value.Length}\r\n"));
            bytes.Write(value);
            bytes.Write("\r\n"u8);
        }
        return bytes.ToArray();
    }

    private static async Task<object?> ReadAsync(Stream stream, CancellationToken cancellation)
    {
        var line = await ReadLineAsync(stream, cancellation);
        var rest = line[1..];
        switch (line[0])
        {
            case '+': return Encoding.UTF8.GetBytes(rest);
            case '-': throw new RedisErrorException(rest);
            case ':': return long.Parse(rest, CultureInfo.InvariantCulture);
            case '$':
                var length = int.Parse(rest, CultureInfo.InvariantCulture);
                if (length < 0) return null;
                var value = new byte[length + 2];
                await stream.ReadExactlyAsync(value, cancellation);
                return value[..length];
            case '*':
                var count = int.Parse(rest, CultureInfo.InvariantCulture);
                if (count < 0) return null;
                var list = new object?[count];
                for (var i = 0; i < count; i++) list[i] = await ReadAsync(stream, cancellation);
                return list;
            default: throw new InvalidDataException($"Redis answered {line}");
        }
    }

    private static async Task<string> ReadLineAsync(Stream stream, CancellationToken cancellation)
    {
        var line = new StringBuilder();
        var one = new byte[1];
        while (true)
        {
            await stream.ReadExactlyAsync(one, cancellation);
            if (one[0] == '\n') return line.ToString(0, line.Length - 1);
            line.Append((char)one[0]);
        }
    }
}
