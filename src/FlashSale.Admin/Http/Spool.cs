using System.Threading.Channels;
using Microsoft.Win32.SafeHandles;

namespace FlashSale.Admin.Http;

/// <summary>
/// A temporary file between a source and a slow client. Bytes that are written can be sent at once, while more are
/// being written. The file leaves the disk with its handle, even when the process dies.
/// </summary>
public sealed class Spool : IDisposable
{
    private const int Piece = 64 * 1024;

    private readonly SafeFileHandle _file = File.OpenHandle(
        Path.Combine(Path.GetTempPath(), $"flashsale-{Guid.NewGuid():N}"), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None,
        FileOptions.DeleteOnClose | FileOptions.Asynchronous);

    // The bytes in the file. Only the latest length matters.
    private readonly Channel<long> _lengths =
        Channel.CreateBounded<long>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest, SingleWriter = true, SingleReader = true });

    private long _length;

    /// <summary>Runs the function that fills the file, and passes its end or its failure to the sending.</summary>
    internal async Task FillAsync(Func<Spool, CancellationToken, Task> fill, CancellationToken cancellation)
    {
        try
        {
            await fill(this, cancellation);
            _lengths.Writer.Complete();
        }
        catch (Exception e)
        {
            _lengths.Writer.Complete(e);
        }
    }

    /// <summary>Writes a stream to its end.</summary>
    public async Task WriteAsync(Stream source, CancellationToken cancellation)
    {
        var buffer = new byte[Piece];
        for (int read; (read = await source.ReadAsync(buffer, cancellation)) > 0; _lengths.Writer.TryWrite(_length))
        {
            await RandomAccess.WriteAsync(_file, buffer.AsMemory(0, read), _length, cancellation);
            _length += read;
        }
    }

    /// <summary>
    /// Sends the bytes of the file, and those that are still being written, until the filling ends. Throws the failure
    /// of the filling. If no byte was written until then, the headers are not sent yet.
    /// </summary>
    internal async Task SendAsync(HttpResponse response, Action<HttpResponse> begin, CancellationToken cancellation)
    {
        var buffer = new byte[Piece];
        var sent = 0L;
        while (await _lengths.Reader.WaitToReadAsync(cancellation))
        {
            if (!_lengths.Reader.TryRead(out var length)) continue;
            if (sent == 0) begin(response);
            while (sent < length)
            {
                var read = await RandomAccess.ReadAsync(_file, buffer.AsMemory(0, (int)Math.Min(Piece, length - sent)), sent, cancellation);
                await response.Body.WriteAsync(buffer.AsMemory(0, read), cancellation);
                sent += read;
            }
        }
        // The channel ends without an exception only when the filling did.
        await _lengths.Reader.Completion;
    }

    /// <inheritdoc />
    public void Dispose() => _file.Dispose();
}
