using System.Globalization;
using System.Text;
using StackExchange.Redis;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>Redis answered a command with an error.</summary>
public sealed class RedisErrorException(string message, Exception inner) : Exception(message, inner);

/// <summary>
/// Asks Redis on a connection of its own, which shares nothing with the hosts that are judged. It connects anew after
/// any failure. Answers are byte[], long, object?[] or null.
/// </summary>
/// <param name="endpoint">host:port.</param>
/// <param name="password">Null where Redis asks for no password.</param>
public sealed class RedisClient(string endpoint, string? password = null) : IAsyncDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly SemaphoreSlim _turn = new(1, 1);
    private ConnectionMultiplexer? _connection;

    /// <summary>Sends a command of strings, numbers and byte arrays.</summary>
    /// <exception cref="RedisErrorException">Redis refused the command.</exception>
    /// <exception cref="IOException">Redis did not answer. The command may have run.</exception>
    public async Task<object?> CallAsync(params object[] command)
    {
        await _turn.WaitAsync();
        try
        {
            _connection ??= await ConnectAsync();
            var arguments = command.Skip(1).Select(part => part as byte[] ?? (object)Convert.ToString(part, CultureInfo.InvariantCulture)!);
            return Plain(await _connection.GetDatabase().ExecuteAsync((string)command[0], [.. arguments]).WaitAsync(Deadline));
        }
        catch (RedisServerException e)
        {
            throw new RedisErrorException(e.Message, e);
        }
        catch (Exception e)
        {
            await DisconnectAsync();
            if (e is RedisConnectionException or TimeoutException) throw new IOException($"Redis at {endpoint} did not answer.", e);
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

    /// <summary>Returns the fields and values of a hash as bytes, by HGETALL.</summary>
    public async Task<IReadOnlyList<(byte[] Field, byte[] Value)>> HashAsync(string key)
    {
        var flat = await ListAsync("HGETALL", key);
        return [.. Enumerable.Range(0, flat.Count / 2).Select(i => ((byte[])flat[2 * i]!, (byte[])flat[2 * i + 1]!))];
    }

    /// <summary>Returns a hash of numbers.</summary>
    public async Task<IReadOnlyDictionary<string, long>> NumbersAsync(string key) =>
        (await HashAsync(key)).ToDictionary(pair => Encoding.UTF8.GetString(pair.Field), pair => long.Parse(Encoding.ASCII.GetString(pair.Value), CultureInfo.InvariantCulture), StringComparer.Ordinal);

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await DisconnectAsync();
        _turn.Dispose();
    }

    private Task<ConnectionMultiplexer> ConnectAsync() => ConnectionMultiplexer.ConnectAsync(new ConfigurationOptions
    {
        EndPoints = { endpoint },
        Password = password,
        AllowAdmin = true,
        ConnectTimeout = 1_000,
        ConnectRetry = 1,
        Protocol = RedisProtocol.Resp2,
        BacklogPolicy = BacklogPolicy.FailFast,
        AsyncTimeout = (int)Deadline.TotalMilliseconds,
    });

    private async Task DisconnectAsync()
    {
        var connection = _connection;
        _connection = null;
        if (connection is not null) await connection.DisposeAsync();
    }

    private static object? Plain(RedisResult result) => result switch
    {
        { IsNull: true } => null,
        { Resp2Type: ResultType.Array } => Array.ConvertAll((RedisResult[])result!, Plain),
        { Resp2Type: ResultType.Integer } => (long)result,
        _ => (byte[]?)result,
    };
}
